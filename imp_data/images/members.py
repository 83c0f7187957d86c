"""Members of zips and plain tars, read in place; those of an object store by ranges."""

import bz2
import errno
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import lru_cache, partial
from pathlib import Path
from threading import local
from typing import Any

from imp_data.errors import UserError
from imp_data.objects import State
from imp_data.places import in_store
from imp_data.ranges import ObjectFile, opened, piece_of


class DamagedMember(Exception):
    """The archive has the picture, but its bytes do not unpack."""


class TooManyBytes(Exception):
    """The picture's file is larger than the limit."""


def is_zip(archive: Path) -> bool:
    """Whether a file counts as a zip; else it is a tar."""
    return archive.suffix.lower() == ".zip"


def read_member(archive: Path, state: int | State, member: str, max_bytes: int) -> bytes | None:
    """A member's bytes, None if there is none of that name.

    `state` differs once the archive is another. Raises DamagedMember, TooManyBytes; UserError if
    the archive is none.
    """
    if is_zip(archive):
        return _read_zipped(zip_of(archive, state), member, max_bytes)
    place = tar_places(archive, state).get(member)
    if place is None:
        return None
    offset, size = place
    if size > max_bytes:
        raise TooManyBytes
    if isinstance(state, State):
        end = min(offset + size, state.size)
        return _piece(archive, offset, end) if offset < end else b""
    with archive.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def learn(archive: Path, state: State) -> None:
    """Read what an archive has, so that threads which want its members need not each do so."""
    zip_of(archive, state) if is_zip(archive) else tar_places(archive, state)


def _read_zipped(archive: zipfile.ZipFile, member: str, max_bytes: int) -> bytes | None:
    try:
        info = archive.getinfo(member)
    except KeyError:
        return None
    if info.file_size > max_bytes:
        raise TooManyBytes
    with archive.fetched(info) if isinstance(archive, _StoredZip) else nullcontext():
        try:
            if info.compress_type == zipfile.ZIP_BZIP2:
                return _bunzipped(archive, info)
            # A stated size may lie: deflate gives no more than is asked for, LZMA all that it
            # makes of the bytes taken in. Where nothing is asked for no checksum is compared.
            lzma_zipped = info.compress_type == zipfile.ZIP_LZMA
            step = zipfile.ZipExtFile.MIN_READ_SIZE if lzma_zipped else max(info.file_size, 1)
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


@lru_cache(maxsize=64)
def zip_of(path: Path, state: int | State) -> zipfile.ZipFile:
    """Open once a process: reading a large zip's directory takes seconds."""
    try:
        return _StoredZip(path) if in_store(path) else zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error) as error:
        if _of_the_disk(error):
            raise
        raise UserError(path, f"is not a whole zip ({error})", _REMEDY) from error


@lru_cache(maxsize=64)
def tar_places(path: Path, state: int | State) -> dict[str, tuple[int, int]]:
    """{member: (offset of its data, size)} of an uncompressed tar."""
    try:
        with opened(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            places = {
                m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive if m.isfile()
            }
            # tarfile takes a damaged header for the end of the archive.
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"no header at byte {archive.offset:,}")
            return places
    except tarfile.TarError as error:
        raise UserError(path, f"is not a whole plain tar ({error})", _REMEDY) from error


def _piece(archive: Path, start: int, end: int) -> bytes:
    """Of an archive that was there a moment ago: that it is gone is no fact about a picture."""
    try:
        return piece_of(archive, start, end)
    except FileNotFoundError as error:
        raise UserError(archive, "went away while it was read", _REMEDY) from error


class _Window(ObjectFile):
    """An object of which each thread may have one piece in memory before it reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._own = local()

    @contextmanager
    def fetched(self, start: int, end: int) -> Iterator[None]:
        # Outside of the file there is nothing to ask for; reading there fails as in any zip.
        inside = 0 <= start < self._size
        self._own.piece = start, _piece(self._path, start, end) if inside else b""
        try:
            yield
        finally:
            del self._own.piece

    def _at_hand(self, position: int) -> memoryview:
        start, piece = getattr(self._own, "piece", (0, b""))
        if start <= position < start + len(piece):
            return memoryview(piece)[position - start :]
        return super()._at_hand(position)


# A member's own header may say more than the directory does of it.
_HEADER_SLACK_BYTES = 256


class _StoredZip(zipfile.ZipFile):
    """A zip in an object store: a member takes one request, however many threads read others."""

    def __init__(self, path: Path) -> None:
        self._window: Any = _Window(path)
        super().__init__(io.BufferedReader(self._window))

    @contextmanager
    def fetched(self, info: zipfile.ZipInfo) -> Iterator[None]:
        """The member's bytes are fetched at once, for what this thread reads within."""
        header = 30 + len(info.filename.encode()) + len(info.extra) + _HEADER_SLACK_BYTES
        end = info.header_offset + header + info.compress_size
        with self._window.fetched(info.header_offset, end):
            yield
