"""Members of a plain tar: where their bytes are, sparse ones' too, and which are links."""

import tarfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.image_paths import normal_path
from imp_data.images.links import followed, link_target
from imp_data.images.stored_zip import REMEDY
from imp_data.objects import State
from imp_data.ranges import opened

# Reads so many bytes from an offset of the archive; fewer at its end.
ReadAt = Callable[[int, int], bytes]


class Stored(NamedTuple):
    """A member's place: `spans`, of a sparse one, are (position in the member, bytes stored)."""

    offset: int
    size: int
    spans: tuple[tuple[int, int], ...] | None = None

    def read(self, read_at: ReadAt) -> bytes:
        """The member's bytes; where a sparse one stores nothing they are zeros."""
        if self.spans is None:
            return read_at(self.offset, self.size)
        data, offset = bytearray(self.size), self.offset
        for position, count in self.spans:
            piece = read_at(offset, max(min(count, self.size - position), 0))
            data[position : position + len(piece)] = piece
            offset += count
        return bytes(data)


class TarMembers(NamedTuple):
    """Members by name in normal form (`./a` is `a`); links of both kinds with what they lead to."""

    files: dict[str, Stored]
    links: dict[str, str]

    def get(self, name: str) -> Stored | None:
        """The member of that name, or that a link of that name leads to."""
        found = self.files.get(name)
        if found is None and self.links:
            target = followed(name, self.links)
            return None if target is None else self.files.get(target)
        return found


@lru_cache(maxsize=64)
def tar_members(path: Path, state: int | State) -> TarMembers:
    """The members of an uncompressed tar; read once a process."""
    members = TarMembers({}, {})
    try:
        for member in _headers(path):
            _add(members, member)
    except tarfile.TarError as error:
        raise UserError(path, f"is not a whole plain tar ({error})", REMEDY) from error
    return members


def _headers(path: Path) -> Iterator[tarfile.TarInfo]:
    with opened(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        yield from archive
        # tarfile takes a damaged header for the end of the archive.
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"no header at byte {archive.offset:,}")


def _add(members: TarMembers, member: tarfile.TarInfo) -> None:
    name = member_name(member.name)
    if member.isfile():
        sparse: Any = member.sparse
        spans = None if sparse is None else tuple((position, count) for position, count in sparse)
        members.files[name] = Stored(member.offset_data, member.size, spans)
    elif member.islnk():
        # The first of the members that share their bytes holds them.
        members.links[name] = member_name(member.linkname)
    elif member.issym() and (target := link_target(name, member.linkname)) is not None:
        members.links[name] = target


def member_name(name: str) -> str:
    """A member's name as records spell it: without a slash in front, `./`, `//` and backslashes."""
    if "\\" in name or "//" in name or name[:1] in "./" or "/./" in name or name[-1:].isspace():
        return normal_path(name).lstrip("/").removeprefix("./")
    return name
