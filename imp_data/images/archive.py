"""One picture's bytes, wherever it lies: unpacked, or in a zip or tar that is read in place."""

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imp_data.errors import UserError
from imp_data.manifest import Folder


class DamagedMember(Exception):
    """The archive has the picture, but its bytes do not unpack."""


class TooManyBytes(Exception):
    """The picture's file is larger than the limit."""


class Shelf(NamedTuple):
    """Where pictures are looked for; cheap to send to another process.

    `images` holds unpacked pictures under the paths that Samples name; `raw` holds one folder a
    collection; `folders` are (collection, folder) pairs, the longest path first.
    """

    images: Path
    raw: Path
    folders: tuple[tuple[str, Folder], ...]

    def read(self, image: str, max_bytes: int) -> bytes:
        """The picture's bytes.

        Raises FileNotFoundError where no place has it, DamagedMember, TooManyBytes; UserError if
        an archive is there but is none.
        """
        unpacked = self.images / image
        if _has(unpacked):
            return _read_file(unpacked, max_bytes)
        for place, member in self._places(image):
            if place.is_dir():
                if _has(place / member):
                    return _read_file(place / member, max_bytes)
            elif place.exists():
                data = _read_member(place, member, max_bytes)
                if data is not None:
                    return data
        raise FileNotFoundError(image)

    def _places(self, image: str) -> Iterator[tuple[Path, str]]:
        for collection, folder in self.folders:
            if image.startswith(folder.path + "/"):
                member = image.removeprefix(folder.path + "/")
                inside = f"{folder.inside}/{member}" if folder.inside else member
                home = self.raw / collection
                yield (home / folder.file if folder.file else home), inside


def _has(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False  # a name no file can have


def _read_file(path: Path, max_bytes: int) -> bytes:
    if path.stat().st_size > max_bytes:
        raise TooManyBytes
    return path.read_bytes()


def _read_member(archive: Path, member: str, max_bytes: int) -> bytes | None:
    stat = archive.stat()
    if archive.suffix.lower() == ".zip":
        return _read_zipped(_zip(archive, stat.st_mtime_ns), member, max_bytes)
    place = _tar_places(archive, stat.st_mtime_ns).get(member)
    if place is None:
        return None
    offset, size = place
    if size > max_bytes:
        raise TooManyBytes
    with archive.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _read_zipped(archive: zipfile.ZipFile, member: str, max_bytes: int) -> bytes | None:
    try:
        info = archive.getinfo(member)
    except KeyError:
        return None
    if info.file_size > max_bytes:
        raise TooManyBytes
    try:
        return archive.read(info)
    except _DAMAGED as error:
        raise DamagedMember(str(error)) from error


_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError),
    RuntimeError,  # encrypted, or compressed as nobody knows
)
_REMEDY = "delete it and materialize its raw asset again"


@lru_cache(maxsize=64)
def _zip(path: Path, changed_ns: int) -> zipfile.ZipFile:
    """Open once a process: reading a large zip's directory takes seconds."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error) as error:
        raise UserError(path, f"is not a whole zip ({error})", _REMEDY) from error


@lru_cache(maxsize=64)
def _tar_places(path: Path, changed_ns: int) -> dict[str, tuple[int, int]]:
    """{member: (offset of its data, size)} of an uncompressed tar."""
    try:
        with tarfile.open(path, "r:") as archive:
            places = {
                m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive if m.isfile()
            }
            # tarfile takes a damaged header for the end of the archive.
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"no header at byte {archive.offset:,}")
            return places
    except tarfile.TarError as error:
        raise UserError(path, f"is not a whole plain tar ({error})", _REMEDY) from error
