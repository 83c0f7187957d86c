"""Iterate over the members of an archive that match globs."""

import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from imp_data.errors import UserError
from imp_data.raw.extract_limits import UNTRUSTED, ExtractionBudget, printable
from imp_data.redaction import redact
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind
from imp_data.storage.folders import is_sidecar
from imp_data.storage.range_reader import open_file
from imp_data.storage.tar_stream import decompress_tar, iterate_members, stored_member
from imp_data.storage.zip_stream import ZipReader

_PIECE_BYTES = 1 << 20


class Member(NamedTuple):
    """A file in an archive; `pieces` yields its bytes, once."""

    name: str
    size: int
    regular: bool
    pieces: Callable[[], Iterator[bytes]]


def matching_members(
    archive: Path, globs: Sequence[str], budget: ExtractionBudget
) -> Iterator[Member]:
    """Yield the members of a zip or tar that a glob matches, without sidecar files.

    Raise UserError if the archive exceeds the budget or is malformed.
    """
    sidecars: list[str] = []

    def matches(name: str) -> bool:
        if not any(fnmatchcase(name, g) for g in globs):
            return False
        if is_sidecar(name):
            sidecars.append(name)
            return False
        return True

    with open_file(archive) as file:
        kind = detect_kind(file.read(HEAD_BYTES))
    is_zip = kind == "zip" or (kind is None and archive.suffix.lower() == ".zip")
    yield from (_zip_members if is_zip else _tar_members)(archive, matches, budget)
    if sidecars:
        note = f"{len(sidecars):,} files that macOS or Windows put there are left out"
        print(redact(f"{archive}: {note} ({printable(sidecars[0])}…)"), file=sys.stderr)


def _zip_members(
    archive: Path, matches: Callable[[str], bool], budget: ExtractionBudget
) -> Iterator[Member]:
    with ZipReader(archive) as whole:
        if (name := whole.overlapping()) is not None:
            problem = f"member {printable(name)} overlaps the next one, as in a zip bomb"
            raise UserError(archive, problem, UNTRUSTED)
        wanted = []
        for info in whole.filelist:
            budget.count_member()
            # If several members have one name, the last one counts.
            last = whole.NameToInfo[info.filename] is info
            if last and matches(info.filename) and not info.filename.endswith("/"):
                wanted.append(info)
        budget.check_free_space(sum(info.file_size for info in wanted))
        for info in wanted:
            regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            yield Member(info.filename, info.file_size, regular, partial(whole.pieces, info))


def _tar_members(
    archive: Path, matches: Callable[[str], bool], budget: ExtractionBudget
) -> Iterator[Member]:
    with open_file(archive) as packed, decompress_tar(packed) as file:
        for member, end in iterate_members(file):
            budget.count_member()
            budget.check_position(end)
            name = member.name.removeprefix("./")
            if matches(name) and not member.isdir():
                pieces = partial(stored_member(member, end).pieces, partial(_read_at, file))
                yield Member(name, member.size, member.isfile(), pieces)
        # Read to the end, where the checksum of compressed data is.
        while file.read(_PIECE_BYTES):
            budget.check_position(file.tell())


def _read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
