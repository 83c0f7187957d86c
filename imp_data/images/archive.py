"""One picture's bytes, wherever it lies: unpacked, or in a zip or tar that is read in place."""

import bz2
import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from copy import copy
from functools import lru_cache, partial
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
        an archive is there but is none, or if what is there cannot be read.
        """
        try:
            for place, member in ((self.images, image), *self._places(image)):
                data = _read(place, member, max_bytes)
                if data is not None:
                    return data
        except OSError as error:
            where, why = error.filename or place / member, error.strerror or error
            raise UserError(where, f"cannot be read ({why})", _ACCESS) from error
        raise FileNotFoundError(image)

    def _places(self, image: str) -> Iterator[tuple[Path, str]]:
        for collection, folder in self.folders:
            if image.startswith(folder.path + "/"):
                member = image.removeprefix(folder.path + "/")
                inside = f"{folder.inside}/{member}" if folder.inside else member
                home = self.raw / collection
                yield (home / folder.file if folder.file else home), inside


def _read(place: Path, member: str, max_bytes: int) -> bytes | None:
    """What the folder or archive has under that name; None where it has nothing."""
    if place.is_dir():
        path = place / member
        return _read_file(path, max_bytes) if _has(path) else None
    return _read_member(place, member, max_bytes) if place.exists() else None


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
        if info.compress_type == zipfile.ZIP_BZIP2:
            return _bunzipped(archive, info)
        # A stated size may lie: deflate gives no more than is asked for, LZMA all that it makes of
        # the bytes taken in.
        lzma_zipped = info.compress_type == zipfile.ZIP_LZMA
        step = zipfile.ZipExtFile.MIN_READ_SIZE if lzma_zipped else info.file_size
        with archive.open(info) as file:
            return b"".join(iter(partial(file.read, step), b""))
    except _DAMAGED as error:
        if _of_the_disk(error):
            raise
        raise DamagedMember(str(error)) from error


def _bunzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """As zipfile does it, but never more than the stated size: 40 bytes may hold 45 MB."""
    packed = copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    packed.CRC = None  # type: ignore[assignment]  # that of the unpacked bytes, compared below
    data = bz2.BZ2Decompressor().decompress(archive.read(packed), info.file_size)
    if zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
    return data


def _of_the_disk(error: Exception) -> bool:
    """Whether the bytes could not be had: no fact about them. EINVAL is an offset below zero."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, struct.error),
    RuntimeError,  # encrypted, or compressed as nobody knows
)
_REMEDY = "delete it and materialize its raw asset again"
_ACCESS = "grant access or mend the disk, then run the same command again; finished stages are kept"


@lru_cache(maxsize=64)
def _zip(path: Path, changed_ns: int) -> zipfile.ZipFile:
    """Open once a process: reading a large zip's directory takes seconds."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error) as error:
        if _of_the_disk(error):
            raise
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
