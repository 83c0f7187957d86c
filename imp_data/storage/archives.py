"""Read archives on this machine or in an object store: their kind, byte ranges, and zips."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import local
from typing import BinaryIO

from imp_data.errors import UserError
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind
from imp_data.storage.object_path import ObjectPath
from imp_data.storage.object_store import file_size
from imp_data.storage.range_reader import ObjectFile, read_range
from imp_data.storage.tar_stream import ReadAt
from imp_data.storage.zip_stream import ZipReader

ARCHIVE_REMEDY = "materialize its raw asset again, or copy the whole file in its place"
# A member's own header may be longer than its entry in the directory.
_HEADER_SLACK_BYTES = 256


def is_zip_file(archive: Path) -> bool:
    """Return whether an archive is a zip, not a tar: by its first bytes, else by its name.

    In an object store the name decides, to save a request.
    """
    if not isinstance(archive, ObjectPath):
        with archive.open("rb") as file:
            kind = detect_kind(file.read(HEAD_BYTES))
        if kind in ("zip", "tar"):
            return kind == "zip"
    return archive.suffix.lower() == ".zip"


def open_zip_file(archive: Path) -> ZipReader:
    """Open a zip; in an object store each of its members takes one request.

    Raise one of zip_stream.DAMAGE_ERRORS if the file is not a whole zip.
    """
    return _ObjectZip(archive) if isinstance(archive, ObjectPath) else ZipReader(archive)


@contextmanager
def open_at_offsets(archive: Path, size: int | None = None) -> Iterator[ReadAt]:
    """Open an archive to read bytes at offsets; fewer bytes at its end.

    In an object store each read is one request. Pass the archive's `size` if it is known.
    """
    if isinstance(archive, ObjectPath):
        yield partial(_read_object_at, archive, file_size(archive) if size is None else size)
        return
    with archive.open("rb") as file:
        yield partial(_read_file_at, file)


def _read_object_at(archive: Path, size: int, offset: int, count: int) -> bytes:
    end = min(offset + count, size)
    return _piece(archive, offset, end) if offset < end else b""


def _read_file_at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _piece(archive: Path, start: int, end: int) -> bytes:
    """Read a byte range of an archive.

    Raise UserError if it was deleted meanwhile, not FileNotFoundError, which would be a fact about
    an image.
    """
    try:
        return read_range(archive, start, end)
    except FileNotFoundError as error:
        raise UserError(archive, "was deleted while it was read", ARCHIVE_REMEDY) from error


class _Window(ObjectFile):
    """An object file in which each thread may prefetch one range."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._own = local()

    @contextmanager
    def hold(self, start: int, end: int) -> Iterator[None]:
        # Request nothing outside the file; reading there fails as in any zip.
        inside = 0 <= start < self._size
        self._own.piece = start, _piece(self._path, start, end) if inside else b""
        try:
            yield
        finally:
            del self._own.piece

    def _bytes_from(self, position: int) -> memoryview:
        start, piece = getattr(self._own, "piece", (0, b""))
        if start <= position < start + len(piece):
            return memoryview(piece)[position - start :]
        return super()._bytes_from(position)


class _ObjectZip(ZipReader):
    """A zip in an object store: a member takes one request, also with several threads."""

    def __init__(self, path: Path) -> None:
        self._window = _Window(path)
        super().__init__(self._window)

    @contextmanager
    def prefetch(self, info: zipfile.ZipInfo) -> Iterator[None]:
        """Fetch the member's bytes in one request for the reads of this thread."""
        header = 30 + len(info.filename.encode()) + len(info.extra) + _HEADER_SLACK_BYTES
        end = info.header_offset + header + info.compress_size
        with self._window.hold(info.header_offset, end):
            yield
