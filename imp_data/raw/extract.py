"""Extract matching members of a zip or tar below a folder, safely and atomically."""

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

from imp_data.errors import REFETCH, UserError
from imp_data.manifests import Limits
from imp_data.raw.archive_entries import Member, matching_members
from imp_data.raw.extract_limits import (
    NARROW_GLOBS,
    ExtractionBudget,
    find_unsafe_reason,
    printable,
)
from imp_data.raw.extract_marker import Marker
from imp_data.storage.atomic_write import write_atomically
from imp_data.storage.folders import check_inside, real_folders
from imp_data.storage.listing import NamesBelow
from imp_data.storage.object_store import upload_bytes
from imp_data.storage.paths import has_latency
from imp_data.storage.prefetch import map_ahead
from imp_data.storage.range_reader import open_file
from imp_data.storage.zip_stream import DAMAGE_ERRORS, is_disk_error

_SMALL_BYTES, _PIECE_BYTES = 4 << 20, 1 << 20
_BLOCKED_PATH = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
_MOVE_AWAY = f"move the existing file elsewhere and run the same command again, or {NARROW_GLOBS}"


def extract(
    archive: Path,
    digest: str,
    globs: Sequence[str],
    folder: Path,
    limits: Limits | None = None,
) -> None:
    """Extract the members that a glob matches below `folder`, without those already extracted.

    The marker, written last, contains the archive's digest, the globs and the extracted members. No
    member overwrites a file that did not come from this archive. Raise UserError if the archive is
    damaged, unsafe or exceeds `limits`.
    """
    marker = Marker(archive, "\n".join((digest, *globs)))
    current = marker.read_current()
    below = NamesBelow(folder)
    present = {name for name in current or () if name in below}
    if current is not None and present.issuperset(current):
        return
    earlier = {*(current or marker.begin())}
    budget = ExtractionBudget(archive, folder, limits or Limits())
    names: list[str] = []
    try:
        with _report_damage(archive, names):
            members = _safe_members(archive, globs, names, budget)
            # A user's changes to a file that is present are kept.
            missing = (member for member in members if member.name not in present)
            _Extractor(archive, folder, budget, earlier).extract(missing)
        forms = [*names, *(f"./{name}" for name in names)]
        if unused := [g for g in globs if not any(fnmatchcase(name, g) for name in forms)]:
            remedy = "correct `unpack` of this file in the manifest"
            raise UserError(archive, f"no member matches {', '.join(unused)}", remedy)
    except BaseException:
        # If this cannot be written either, the error that is raised gives the reason.
        with suppress(UserError):
            if current is None:
                marker.write_unfinished({*earlier, *names[:-1]})
        raise
    marker.write_finished(names)


@contextmanager
def _report_damage(archive: Path, names: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except (*DAMAGE_ERRORS, tarfile.TarError) as error:
        if is_disk_error(error):
            raise
        last = printable(names[-1]) if names else "its beginning"
        raise UserError(archive, f"is damaged at or after {last}: {error}", REFETCH) from error


def _safe_members(
    archive: Path, globs: Sequence[str], names: list[str], budget: ExtractionBudget
) -> Iterator[Member]:
    """Yield the members, each added to `names` first. Raise UserError if one is unsafe."""
    for member in matching_members(archive, globs, budget):
        names.append(member.name)
        if why := find_unsafe_reason(member.name, member.regular, archive.name):
            problem, remedy = why
            raise UserError(archive, f"member {printable(member.name)} {problem}", remedy)
        names[-1] = posixpath.normpath(member.name)
        yield member._replace(name=names[-1])


def _check_links(folder: Path, name: str) -> None:
    """Raise UserError if a link below the folder's direct children leads a member out of it."""
    parent = (folder / name).parent
    top = folder / name.partition("/")[0]
    places = real_folders((folder, folder.parent, top))
    check_inside(folder / name, os.path.realpath(parent), places)


class _Extractor:
    """Writes members below a folder; `earlier` are extracted files that they may overwrite."""

    def __init__(
        self, archive: Path, folder: Path, budget: ExtractionBudget, earlier: Collection[str]
    ) -> None:
        self._archive, self._folder, self._budget = archive, folder, budget
        self._own = {*earlier}
        self._existing = NamesBelow(folder)
        self._put: dict[str, Event] = {}

    def extract(self, members: Iterator[Member]) -> None:
        """Write all members."""
        if has_latency(self._folder):
            for _ in map_ahead(_put_in_turn, self._small(members)):
                pass
            return
        for member in members:
            self._budget.count_bytes(member.size)
            _check_links(self._folder, member.name)
            self._write(member, member.pieces())

    def _small(self, members: Iterator[Member]) -> Iterator["_Put"]:
        """Yield small members, to be uploaded concurrently; write large ones directly."""
        for member in members:
            self._budget.count_bytes(member.size)
            if member.size >= _SMALL_BYTES:
                self._write(member, member.pieces())
                continue
            data = b"".join(member.pieces())
            if self._is_foreign(member.name):
                self._write(member, iter([data]))  # compares it
            else:
                self._own.add(member.name)
                before = self._put.get(member.name)
                self._put[member.name] = done = Event()
                yield _Put(data, self._folder / member.name, before, done)

    def _write(self, member: Member, pieces: Iterator[bytes]) -> None:
        path = self._folder / member.name
        try:
            with write_atomically(path, alone=True) as aside:
                with aside.open("wb") as out:
                    out.writelines(pieces)
                if self._is_foreign(member.name) and not _is_equal(aside, path):
                    problem = f"exists, and differs from the member of that name in {self._archive}"
                    raise UserError(path, problem, _MOVE_AWAY)
        except OSError as error:
            if error.errno not in _BLOCKED_PATH:
                raise
            problem = f"member {printable(member.name)} cannot be extracted ({error.strerror})"
            raise UserError(self._archive, problem, _MOVE_AWAY) from error
        self._own.add(member.name)

    def _is_foreign(self, name: str) -> bool:
        """Return whether a file exists that is no extracted member; a disk may ignore case."""
        return name not in self._own and name in self._existing


class _Put(NamedTuple):
    """A member to upload to a store; a later member of the same name waits for `before`."""

    data: bytes
    path: Path
    before: Event | None
    done: Event


def _put_in_turn(put: _Put) -> None:
    if put.before is not None:
        put.before.wait()
    try:
        upload_bytes(put.data, put.path)
    finally:
        put.done.set()


def _is_equal(one: Path, other: Path) -> bool:
    with open_file(one) as left, open_file(other) as right:
        while piece := left.read(_PIECE_BYTES):
            if right.read(len(piece)) != piece:
                return False
        return not right.read(1)


def extracted_names(archive: Path) -> list[str]:
    """Return the members that were extracted beside an archive."""
    return Marker(archive, "").read_names()
