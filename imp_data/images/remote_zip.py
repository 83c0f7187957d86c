"""Archives in an object store: pieces of them, and a zip whose members take one request each."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import local

from imp_data.errors import UserError
from imp_data.storage.range_reader import ObjectFile, piece_of
from imp_data.storage.zip_stream import Zip

REMEDY = "materialize its raw asset again, or copy the whole file in its place"


def archive_piece(archive: Path, start: int, end: int) -> bytes:
    """Of an archive that was there a moment ago: that it is gone is no fact about an image."""
    try:
        return piece_of(archive, start, end)
    except FileNotFoundError as error:
        raise UserError(archive, "went away while it was read", REMEDY) from error


class _Window(ObjectFile):
    """An object of which each thread may have one piece in memory before it reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._own = local()

    @contextmanager
    def fetched(self, start: int, end: int) -> Iterator[None]:
        # Outside of the file there is nothing to ask for; reading there fails as in any zip.
        inside = 0 <= start < self._size
        self._own.piece = start, archive_piece(self._path, start, end) if inside else b""
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


class StoredZip(Zip):
    """A zip in an object store: a member takes one request, however many threads read others."""

    def __init__(self, path: Path) -> None:
        self._window = _Window(path)
        super().__init__(self._window)

    @contextmanager
    def fetched(self, info: zipfile.ZipInfo) -> Iterator[None]:
        """The member's bytes are fetched at once, for what this thread reads within."""
        header = 30 + len(info.filename.encode()) + len(info.extra) + _HEADER_SLACK_BYTES
        end = info.header_offset + header + info.compress_size
        with self._window.fetched(info.header_offset, end):
            yield
