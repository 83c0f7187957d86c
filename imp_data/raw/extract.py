"""Extract matching members of a zip or tar below a folder, safely and atomically."""

import errno
import posixpath
import tarfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event, Lock
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
from imp_data.storage.atomic_write import write_atomically, write_small
from imp_data.storage.folders import check_member_inside
from imp_data.storage.listing import NamesBelow
from imp_data.storage.prefetch import map_at
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


class _Extractor:
    """Writes members below a folder; `earlier` are extracted files that they may overwrite."""

    def __init__(
        self, archive: Path, folder: Path, budget: ExtractionBudget, earlier: Collection[str]
    ) -> None:
        self._archive, self._folder, self._budget = archive, folder, budget
        self._own = {*earlier}
        self._existing = NamesBelow(folder)
        self._unwritten: dict[str, Event] = {}
        self._lock = Lock()

    def extract(self, members: Iterator[Member]) -> None:
        """Write all members."""
        for _ in map_at(self._folder, self._write_small, self._small(members)):
            pass

    def _small(self, members: Iterator[Member]) -> Iterator["_Small"]:
        """Yield small members, which a store takes concurrently; write large ones directly."""
        for member in members:
            self._budget.count_bytes(member.size)
            check_member_inside(self._folder, member.name)
            if member.size >= _SMALL_BYTES:
                self._write(member, member.pieces())
                continue
            data = b"".join(member.pieces())
            if self._is_foreign(member.name):
                self._write(member, iter([data]))  # compares it
            else:
                self._own.add(member.name)
                with self._lock:
                    before = self._unwritten.get(member.name)
                    self._unwritten[member.name] = done = Event()
                yield _Small(data, member.name, before, done)

    def _write_small(self, small: "_Small") -> None:
        if small.before is not None:
            small.before.wait()
        try:
            with self._blocked_path(small.name):
                write_small(self._folder / small.name, small.data)
        finally:
            small.done.set()
            with self._lock:
                if self._unwritten[small.name] is small.done:
                    del self._unwritten[small.name]

    def _write(self, member: Member, pieces: Iterator[bytes]) -> None:
        path = self._folder / member.name
        with self._blocked_path(member.name), write_atomically(path, alone=True) as aside:
            with aside.open("wb") as out:
                out.writelines(pieces)
            if self._is_foreign(member.name) and not _is_equal(aside, path):
                problem = f"exists, and differs from the member of that name in {self._archive}"
                raise UserError(path, problem, _MOVE_AWAY)
        self._own.add(member.name)

    @contextmanager
    def _blocked_path(self, name: str) -> Iterator[None]:
        """Raise UserError if a file is in the place of a folder, or a folder of a file."""
        try:
            yield
        except OSError as error:
            if error.errno not in _BLOCKED_PATH:
                raise
            problem = f"member {printable(name)} cannot be extracted ({error.strerror})"
            raise UserError(self._archive, problem, _MOVE_AWAY) from error

    def _is_foreign(self, name: str) -> bool:
        """Return whether a file exists that is no extracted member; a disk may ignore case."""
        return name not in self._own and name in self._existing


class _Small(NamedTuple):
    """A small member; it is written after an earlier one of the same name, `before`."""

    data: bytes
    name: str
    before: Event | None
    done: Event


def _is_equal(one: Path, other: Path) -> bool:
    with open_file(one) as left, open_file(other) as right:
        while piece := left.read(_PIECE_BYTES):
            if right.read(len(piece)) != piece:
                return False
        return not right.read(1)


def extracted_names(archive: Path) -> list[str]:
    """Return the members that were extracted beside an archive."""
    return Marker(archive, "").read_names()
