"""Lays chosen members of a zip or tar below a folder: none that leads outside, each one whole."""

import errno
import os
import posixpath
import tarfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event
from typing import NamedTuple

from imp_data.errors import ANEW, UserError
from imp_data.manifests import Limits
from imp_data.raw.archive_entries import Member, chosen
from imp_data.raw.extract_limits import NARROWER, Room, printable, refusal
from imp_data.raw.extract_marker import Marker
from imp_data.storage.atomic_write import written_aside
from imp_data.storage.folders import real_places, refuse_way_out
from imp_data.storage.listing import NamesBelow
from imp_data.storage.object_store import put_bytes
from imp_data.storage.paths import has_latency
from imp_data.storage.prefetch import at_once
from imp_data.storage.range_reader import open_file
from imp_data.storage.zip_stream import DAMAGED, of_the_disk

_SMALL_BYTES, _PIECE_BYTES = 4 << 20, 1 << 20
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
_ELSEWHERE = f"move what is there elsewhere and run the same command again, or {NARROWER}"


def extract(
    archive: Path,
    digest: str,
    globs: Sequence[str],
    folder: Path,
    limits: Limits | None = None,
) -> None:
    """Lay the members that a glob matches below `folder`, but for those that are there already.

    The marker, written last, names the archive's digest, the globs, and the members laid out. No
    member takes the place of a file that no member of this archive was. Raises UserError.
    """
    marker = Marker(archive, "\n".join((digest, *globs)))
    listed = marker.listed()
    below = NamesBelow(folder)
    present = {name for name in listed or () if name in below}
    if listed is not None and present.issuperset(listed):
        return
    earlier = {*(listed or marker.begin())}
    room = Room(archive, folder, limits or Limits())
    names: list[str] = []
    try:
        with _damage(archive, names):
            named = _named(archive, globs, names, room)
            # Whoever has changed one that is there keeps it.
            wanted = (member for member in named if member.name not in present)
            _Ground(archive, folder, room, earlier).lay(wanted)
        forms = [*names, *(f"./{name}" for name in names)]
        if idle := [g for g in globs if not any(fnmatchcase(name, g) for name in forms)]:
            remedy = "correct `extract` of this file in the manifest"
            raise UserError(archive, f"no member matches {', '.join(idle)}", remedy)
    except BaseException:
        # Where this cannot be written either, the error that is raised says why.
        with suppress(UserError):
            if listed is None:
                marker.unfinished({*earlier, *names[:-1]})
        raise
    marker.finished(names)


@contextmanager
def _damage(archive: Path, names: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except (*DAMAGED, tarfile.TarError) as error:
        if of_the_disk(error):
            raise
        last = printable(names[-1]) if names else "its beginning"
        raise UserError(archive, f"is damaged at or after {last}: {error}", ANEW) from error


def _named(archive: Path, globs: Sequence[str], names: list[str], room: Room) -> Iterator[Member]:
    """The members, each added to `names` first. UserError where one is not safe to lay down."""
    for member in chosen(archive, globs, room):
        names.append(member.name)
        if why := refusal(member.name, member.regular, archive.name):
            problem, remedy = why
            raise UserError(archive, f"member {printable(member.name)} {problem}", remedy)
        names[-1] = posixpath.normpath(member.name)
        yield member._replace(name=names[-1])


def _refuse_way_out(folder: Path, name: str) -> None:
    """Raise UserError where a link deeper than directly in the folder leads a member out of it."""
    around = (folder / name).parent
    top = folder / name.partition("/")[0]
    places = real_places((folder, folder.parent, top))
    refuse_way_out(folder / name, os.path.realpath(around), places)


class _Ground:
    """A folder, and which of the files there members may replace: `earlier` ones of their own."""

    def __init__(self, archive: Path, folder: Path, room: Room, earlier: Collection[str]) -> None:
        self._archive, self._folder, self._room = archive, folder, room
        self._own = {*earlier}
        self._there = NamesBelow(folder)
        self._put: dict[str, Event] = {}

    def lay(self, wanted: Iterator[Member]) -> None:
        if has_latency(self._folder):
            for _ in at_once(_put_in_turn, self._small(wanted)):
                pass
            return
        for member in wanted:
            self._room.lay(member.size)
            _refuse_way_out(self._folder, member.name)
            self._lay(member, member.pieces())

    def _small(self, wanted: Iterator[Member]) -> Iterator["_Put"]:
        """Small members, to be put many at a time; large ones are put on the way."""
        for member in wanted:
            self._room.lay(member.size)
            if member.size >= _SMALL_BYTES:
                self._lay(member, member.pieces())
                continue
            data = b"".join(member.pieces())
            if self._is_anothers(member.name):
                self._lay(member, iter([data]))  # which compares it
            else:
                self._own.add(member.name)
                before = self._put.get(member.name)
                self._put[member.name] = done = Event()
                yield _Put(data, self._folder / member.name, before, done)

    def _lay(self, member: Member, pieces: Iterator[bytes]) -> None:
        path = self._folder / member.name
        try:
            with written_aside(path, alone=True) as aside:
                with aside.open("wb") as out:
                    out.writelines(pieces)
                if self._is_anothers(member.name) and not _same(aside, path):
                    problem = f"is there, and is not the member of that name in {self._archive}"
                    raise UserError(path, problem, _ELSEWHERE)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            problem = f"member {printable(member.name)} cannot be laid ({error.strerror})"
            raise UserError(self._archive, problem, _ELSEWHERE) from error
        self._own.add(member.name)

    def _is_anothers(self, name: str) -> bool:
        """Whether something is there that no member has laid; a disk may know it by other case."""
        return name not in self._own and name in self._there


class _Put(NamedTuple):
    """A member for a store; of several of one name the later one waits for the one before."""

    data: bytes
    path: Path
    before: Event | None
    done: Event


def _put_in_turn(put: _Put) -> None:
    if put.before is not None:
        put.before.wait()
    try:
        put_bytes(put.data, put.path)
    finally:
        put.done.set()


def _same(one: Path, other: Path) -> bool:
    with open_file(one) as left, open_file(other) as right:
        while piece := left.read(_PIECE_BYTES):
            if right.read(len(piece)) != piece:
                return False
        return not right.read(1)


def extracted_names(archive: Path) -> list[str]:
    """The members that were laid beside an archive; none where it was not unpacked."""
    return Marker(archive, "").names()
