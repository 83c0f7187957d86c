"""Read the members of a tar sequentially, in pieces, safely for any claim of its headers."""

import bz2
import errno
import gzip
import io
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind
from imp_data.storage.range_reader import PositionedFile

# Takes an offset in the tar and a number of bytes; returns fewer bytes at the tar's end.
ReadAt = Callable[[int, int], bytes]

# Each member takes about 400 bytes of memory; the largest known tars of images have 20,000.
MOST_MEMBERS = 5_000_000
_PIECE_BYTES = 1 << 20
# Headers of one member: names and attributes take kilobytes, maps of sparse members more.
_MOST_HEADER_BYTES = 1 << 20
# tarfile parses a pax header in time quadratic in its longest number.
_MOST_DIGITS, _MOST_SIZE_DIGITS = 300, 20
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (_MOST_DIGITS + 1))
_PAX = (b"x", b"g", b"X")
# xz allocates its dictionary, for which a file may state 4 GiB; xz's presets use 65 MiB.
_MOST_XZ_BYTES = 512 << 20
_READ_BYTES = 64 << 10


class StoredMember(NamedTuple):
    """The place of a member; `spans` of a sparse one are (position in the member, bytes stored).

    `room` is the number of bytes until the next header.
    """

    offset: int
    size: int
    room: int
    spans: tuple[tuple[int, int], ...] | None = None

    def pieces(self, read_at: ReadAt) -> Iterator[bytes]:
        """Yield the member's bytes, with zeros for the holes of a sparse one.

        Raise tarfile.ReadError if its map contradicts itself or the tar is truncated.
        """
        if self.spans is None:
            yield from _span(read_at, self.offset, self.size)
            return
        self._check_map(self.spans)
        done, offset = 0, self.offset
        for position, count in self.spans:
            yield from _zeros(position - done)
            yield from _span(read_at, offset, count)
            done, offset = position + count, offset + count
        yield from _zeros(self.size - done)

    def read(self, read_at: ReadAt) -> bytes:
        """Return all bytes; see `pieces`."""
        return b"".join(self.pieces(read_at))

    def _check_map(self, spans: tuple[tuple[int, int], ...]) -> None:
        done = stored = 0
        for position, count in spans:
            stored += count
            if position < done or count < 0 or position + count > self.size or stored > self.room:
                raise tarfile.ReadError("its map of stored bytes contradicts itself")
            done = position + count
        if self.room - stored >= tarfile.BLOCKSIZE:
            raise tarfile.ReadError("its map omits some of the stored bytes")


def _span(read_at: ReadAt, offset: int, count: int) -> Iterator[bytes]:
    while count > 0:
        piece = read_at(offset, min(count, _PIECE_BYTES))
        if not piece:
            raise tarfile.ReadError("unexpected end of data")
        yield piece
        offset, count = offset + len(piece), count - len(piece)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, _PIECE_BYTES))
        count -= _PIECE_BYTES


def stored_member(member: tarfile.TarInfo, end: int) -> StoredMember:
    """Return the place of a member that `iterate_members` yielded together with `end`."""
    sparse: Any = member.sparse
    # Unused fields, and the one that marks the end, are empty spans.
    spans = None if sparse is None else tuple((place, count) for place, count in sparse if count)
    return StoredMember(member.offset_data, member.size, end - member.offset_data, spans)


def iterate_members(file: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Yield each member of a plain tar with the offset of the next header.

    Raise tarfile.ReadError if a header is invalid; offsets never decrease.
    """
    headers = _Headers(file)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, headers), mode="r:") as archive:
            while (member := archive.next()) is not None:
                end = archive.offset
                if member.size < 0 or end < member.offset_data:
                    raise tarfile.ReadError(f"a size below zero at byte {member.offset:,}")
                archive.members = []  # type: ignore[attr-defined]  # the caller keeps members
                yield member, end
                headers.left = _MOST_HEADER_BYTES
            # tarfile treats a damaged header as the end of the archive.
            if headers.last.strip(b"\0"):
                raise tarfile.ReadError(f"no header at byte {archive.offset:,}")
    except tarfile.ReadError:
        raise
    except Exception as error:
        # On damaged headers tarfile raises ValueError, OverflowError, RecursionError, IndexError…
        # An error of the disk is no fact about the headers.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise tarfile.ReadError(f"an invalid header ({error})") from error


class _Headers:
    """A tar as tarfile reads its headers: forward, and a limited number of bytes per member."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._pax, self._back = file, False, False
        self.left, self.last = _MOST_HEADER_BYTES, b""

    def tell(self) -> int:
        return self._file.tell() - self._back

    def seek(self, offset: int) -> None:
        # Before each header tarfile reads the byte before it, to detect truncation. If it was the
        # last byte read, seeking back to it would decompress everything again.
        self._back = offset == self._file.tell() - 1
        if not self._back:
            self._file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        if self._back and size == 1:
            self._back = False
            return b"\0"
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError(f"more than {_MOST_HEADER_BYTES:,} bytes of headers per member")
        data = self._file.read(size)
        if size == 1:
            return data
        if self._pax:
            _check_records(data)
        self._pax = not self._pax and size == tarfile.BLOCKSIZE and data[156:157] in _PAX
        self.last = data
        return data


def _check_records(data: bytes) -> None:
    """Raise ReadError if a pax header is malformed; some versions of Python skip it, or worse."""
    place = 0
    while data[place : place + 1].strip(b"\0"):
        digits = data[place : data.find(b" ", place, place + _MOST_SIZE_DIGITS)]
        end = place + int(digits) if digits.isdigit() else 0
        if end <= place or data[end - 1 : end] != b"\n" or b"=" not in data[place:end]:
            raise tarfile.ReadError("a pax header that is malformed")
        place = end
    if _LONG_NUMBER.search(data):
        raise tarfile.ReadError("a header with an overlong number")


def decompress_tar(file: BinaryIO) -> BinaryIO:
    """Return the tar in a file that may be compressed by gzip, bzip2 or xz."""
    kind = detect_kind(file.read(HEAD_BYTES))
    file.seek(0)
    match kind:
        case "gzip":
            return cast(BinaryIO, gzip.GzipFile(fileobj=file))
        case "bzip2":
            return cast(BinaryIO, bz2.BZ2File(file))
        case "xz":
            return io.BufferedReader(_Xz(file), _READ_BYTES)
    return file


class _Xz(PositionedFile):
    """A decompressed xz file, read forward; lzma.LZMAFile does not limit its memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = lzma.LZMADecompressor(memlimit=_MOST_XZ_BYTES)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise io.UnsupportedOperation("an xz file is read forward only")
        while self._position < offset and self.read(min(offset - self._position, _PIECE_BYTES)):
            pass
        return self._position

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._stream.eof:
                rest = self._stream.unused_data or self._file.read(_READ_BYTES)
                if not rest.strip(b"\0"):
                    return 0
                self._stream = lzma.LZMADecompressor(memlimit=_MOST_XZ_BYTES)
            else:
                rest = self._file.read(_READ_BYTES) if self._stream.needs_input else b""
                if self._stream.needs_input and not rest:
                    raise EOFError("unexpected end of data")
            piece = self._stream.decompress(rest, len(buffer))
            if piece:
                buffer[: len(piece)] = piece
                self._position += len(piece)
                return len(piece)
