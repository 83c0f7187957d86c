"""Read archives in an object store by ranges; a zip member takes one request."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import local

from imp_data.errors import UserError
from imp_data.storage.range_reader import ObjectFile, piece_of
from imp_data.storage.zip_stream import Zip

REMEDY = "materialize its raw asset again, or copy the whole file in its place"


def read_archive_range(archive: Path, start: int, end: int) -> bytes:
    """Read a byte range of an archive. Raise UserError if it was deleted meanwhile."""
    try:
        return piece_of(archive, start, end)
    except FileNotFoundError as error:
        raise UserError(archive, "was deleted while it was read", REMEDY) from error


class _Window(ObjectFile):
    """An object file in which each thread may prefetch one range."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._own = local()

    @contextmanager
    def prefetch(self, start: int, end: int) -> Iterator[None]:
        # Request nothing outside the file; reading there fails as in any zip.
        inside = 0 <= start < self._size
        self._own.piece = start, read_archive_range(self._path, start, end) if inside else b""
        try:
            yield
        finally:
            del self._own.piece

    def _at_hand(self, position: int) -> memoryview:
        start, piece = getattr(self._own, "piece", (0, b""))
        if start <= position < start + len(piece):
            return memoryview(piece)[position - start :]
        return super()._at_hand(position)


# A member's own header may be longer than its entry in the directory.
_HEADER_SLACK_BYTES = 256


class RemoteZip(Zip):
    """A zip in an object store: a member takes one request, also with several threads."""

    def __init__(self, path: Path) -> None:
        self._window = _Window(path)
        super().__init__(self._window)

    @contextmanager
    def prefetch(self, info: zipfile.ZipInfo) -> Iterator[None]:
        """Fetch the member's bytes in one request for the reads of this thread."""
        header = 30 + len(info.filename.encode()) + len(info.extra) + _HEADER_SLACK_BYTES
        end = info.header_offset + header + info.compress_size
        with self._window.prefetch(info.header_offset, end):
            yield
