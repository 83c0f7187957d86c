"""The members of an archive that are to be unpacked, one after another."""

import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from imp_data.errors import UserError
from imp_data.raw.extract_limits import NO_TRUST, Room, printable
from imp_data.redaction import redacted
from imp_data.storage.file_kinds import HEAD_BYTES, file_kind
from imp_data.storage.folders import is_sidecar
from imp_data.storage.range_reader import open_file
from imp_data.storage.tar_stream import members, stored, unpacked
from imp_data.storage.zip_stream import Zip

_PIECE_BYTES = 1 << 20


class Member(NamedTuple):
    """A file in an archive: `pieces` gives its bytes, once."""

    name: str
    size: int
    regular: bool
    pieces: Callable[[], Iterator[bytes]]


def chosen(archive: Path, globs: Sequence[str], room: Room) -> Iterator[Member]:
    """The members of a zip or tar that a glob matches, but for sidecars. Raises UserError."""
    sidecars: list[str] = []

    def matches(name: str) -> bool:
        if not any(fnmatchcase(name, g) for g in globs):
            return False
        if is_sidecar(name):
            sidecars.append(name)
            return False
        return True

    with open_file(archive) as file:
        kind = file_kind(file.read(HEAD_BYTES))
    is_zip = kind == "zip" or (kind is None and archive.suffix.lower() == ".zip")
    yield from (_zip_members if is_zip else _tar_members)(archive, matches, room)
    if sidecars:
        told = f"{len(sidecars):,} files that macOS or Windows put there are left out"
        print(redacted(f"{archive}: {told} ({printable(sidecars[0])}…)"), file=sys.stderr)


def _zip_members(archive: Path, matches: Callable[[str], bool], room: Room) -> Iterator[Member]:
    with Zip(archive) as whole:
        if (name := whole.overlapping()) is not None:
            problem = f"member {printable(name)} reaches into the next, to unpack without end"
            raise UserError(archive, problem, NO_TRUST)
        wanted = []
        for info in whole.filelist:
            room.member()
            # Of several members of one name the last counts.
            last = whole.NameToInfo[info.filename] is info
            if last and matches(info.filename) and not info.filename.endswith("/"):
                wanted.append(info)
        room.ask(sum(info.file_size for info in wanted))
        for info in wanted:
            regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            yield Member(info.filename, info.file_size, regular, partial(whole.pieces, info))


def _tar_members(archive: Path, matches: Callable[[str], bool], room: Room) -> Iterator[Member]:
    with open_file(archive) as packed, unpacked(packed) as file:
        for member, end in members(file):
            room.member()
            room.reach(end)
            name = member.name.removeprefix("./")
            if matches(name) and not member.isdir():
                pieces = partial(stored(member, end).pieces, partial(_read_at, file))
                yield Member(name, member.size, member.isfile(), pieces)
        # Checksums of compressed data stand at their end.
        while file.read(_PIECE_BYTES):
            room.reach(file.tell())


def _read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
