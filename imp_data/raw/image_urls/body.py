"""Receive the body of a response into a file: limited, decompressed, its kind checked first."""

import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import aiohttp

from imp_data.errors import UserError
from imp_data.raw.image_urls.failure import FetchError
from imp_data.raw.image_urls.status import FailureReason
from imp_data.storage.file_kinds import HEAD_BYTES, IMAGE_KINDS, detect_kind, kind_phrase

# Most web images are smaller, and are written at once.
_BUFFER_BYTES = 1 << 18
_PIECE_BYTES = 1 << 16
_PLAIN = ("", "identity", "none")
_ZLIB = ("gzip", "x-gzip", "deflate")


class Body(NamedTuple):
    """A received image."""

    bytes: int
    sha256: str
    kind: str


async def receive_body(response: aiohttp.ClientResponse, target: Path, max_bytes: int) -> Body:
    """Write the body to `target`, which is created only for an image.

    Memory: a buffer of 256 KiB. Raise FetchError if the body is no image or is too large.
    """
    stated = response.headers.get("Content-Length", "")
    if stated.isdecimal() and int(stated) > max_bytes:
        detail = f"announces {int(stated):,} bytes"
        raise FetchError(FailureReason.TOO_LARGE, detail, bytes_announced=int(stated))
    decode = _decoder(response.headers.get("Content-Encoding", ""))
    image = _ImageFile(target)
    received = size = 0
    try:
        async for block in response.content.iter_any():
            received += len(block)
            for piece in decode.pieces(block):
                size += len(piece)
                if max(received, size) > max_bytes:
                    detail = f"sends more than {max_bytes:,} bytes"
                    raise FetchError(FailureReason.TOO_LARGE, detail, bytes_announced=size)
                image.write(piece)
        decode.check_complete()
        kind = image.finish()
    finally:
        image.close()
    return Body(size, image.digest.hexdigest(), kind)


class _ImageFile:
    """A file that is opened when its first bytes are those of an image."""

    def __init__(self, target: Path) -> None:
        self._target, self._head, self._kind = target, b"", ""
        self.digest = hashlib.sha256()
        self._out: BinaryIO | None = None

    def write(self, piece: bytes) -> None:
        """Write the next bytes. Raise FetchError if they are those of another kind of file."""
        self.digest.update(piece)
        if self._out is not None:
            with write_errors(self._target):
                self._out.write(piece)
            return
        self._head += piece
        if len(self._head) >= HEAD_BYTES:
            self._open()

    def finish(self) -> str:
        """Write the rest; return the kind. Raise FetchError if the content is not an image."""
        if self._out is None:
            self._open()
        self.close()
        return self._kind

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._out is not None:
            with write_errors(self._target):
                self._out.close()

    def _open(self) -> None:
        if not self._head:
            raise FetchError(FailureReason.EMPTY, "sends no bytes")
        kind = detect_kind(self._head[:HEAD_BYTES])
        if kind is None or kind not in IMAGE_KINDS:
            raise FetchError(FailureReason.NOT_AN_IMAGE, f"is {kind_phrase(kind)}")
        self._kind = kind
        with write_errors(self._target):
            self._out = self._target.open("wb", _BUFFER_BYTES)
            self._out.write(self._head)


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Raise UserError for an error of the disk: it must not count as one of the network."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        remedy = "free space or grant access, then run the same command again, which resumes"
        raise UserError(target, problem, remedy) from error


class _Identity:
    """Content without compression."""

    def pieces(self, block: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of a block."""
        yield block

    def check_complete(self) -> None:
        """Raise FetchError if the compressed content has no end."""


class _Inflater(_Identity):
    """Content that is compressed although it was not asked for; see RFC 9110, 8.4.1."""

    def __init__(self, coding: str) -> None:
        self._coding, self._begun = coding, False
        # Finds zlib's and gzip's header by itself.
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def pieces(self, block: bytes) -> Iterator[bytes]:
        while block and not self._stream.eof:
            try:
                piece = self._decompress(block)
            except zlib.error as error:
                detail = f"is not {self._coding} ({error})"
                raise FetchError(FailureReason.BAD_ENCODING, detail) from None
            block = self._stream.unconsumed_tail
            yield piece

    def _decompress(self, block: bytes) -> bytes:
        first, self._begun = not self._begun, True
        if first and self._coding == "deflate":
            # Some servers send deflate without zlib's header.
            with suppress(zlib.error):
                return self._stream.decompress(block, _PIECE_BYTES)
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        return self._stream.decompress(block, _PIECE_BYTES)

    def check_complete(self) -> None:
        if not self._stream.eof:
            raise FetchError(FailureReason.INCOMPLETE, f"{self._coding} content has no end")


def _decoder(coding: str) -> _Identity:
    coding = coding.strip().lower()
    if coding in _PLAIN:
        return _Identity()
    if coding in _ZLIB:
        return _Inflater(coding)
    detail = f"is encoded as {coding}, which was not asked for"
    raise FetchError(FailureReason.BAD_ENCODING, detail)
