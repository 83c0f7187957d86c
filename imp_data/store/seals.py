"""Checksums of an Arrow or Parquet file within the file: a table between its data and its footer.

Readers of both formats begin at the end of a file: a mark, the footer's length, the footer, which
says where the data is. They pass over the table, so a sealed file is a plain one for all others.

    data | xxh3 of each block of it | xxh3 of the footer | bytes of data | xxh3 of the table | mark
         | footer, its length, the format's mark
"""

import io
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import xxhash

from imp_data.errors import UserError
from imp_data.ranges import opened

# Small enough that a column read by itself costs little of its neighbours.
BLOCK_BYTES = 1 << 16
_MARK = b"xxh3seal"
_TAIL = struct.Struct("<8sQ8s8s")
_SUM_BYTES = 8
# Bytes of the footer's length and the mark after it, by the mark.
_ENDS = {b"PAR1": 8, b"ARROW1": 10}
_LENGTH_BYTES = 4
_READ_BYTES = 1 << 20
AGAIN = (
    "run the same command again: its stage writes the file anew (delete the file first if it is in "
    "an object store or belongs to another user)"
)

_sum = xxhash.xxh3_64_digest


class _Seal(NamedTuple):
    """The checksums of `data_bytes` of data, 8 bytes a block; and all that follows the data."""

    data_bytes: int
    sums: bytes
    rest: bytes


class _Broken(Exception):
    """What is wrong with a seal."""


def seal(path: Path) -> None:
    """Add the checksums to a finished Arrow or Parquet file of this machine."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        footer = _last(file, size, _footer_bytes(file, size))
        data_bytes = size - len(footer)
        sums = b"".join(_sums_of(file, data_bytes))
        head = sums + _sum(footer) + data_bytes.to_bytes(8, "little")
        file.seek(data_bytes)
        file.write(head + _sum(head) + _MARK + footer)


def _sums_of(file: BinaryIO, data_bytes: int) -> Iterator[bytes]:
    file.seek(0)
    for begin in range(0, data_bytes, _READ_BYTES):
        piece = memoryview(file.read(min(_READ_BYTES, data_bytes - begin)))
        for start in range(0, len(piece), BLOCK_BYTES):
            yield _sum(piece[start : start + BLOCK_BYTES])


def _footer_bytes(file: BinaryIO, size: int) -> int:
    """Bytes of the footer with its length and the mark; 0 where the file ends in another way."""
    end = _last(file, size, min(size, max(_ENDS.values())))
    for mark, after in _ENDS.items():
        if end.endswith(mark) and len(end) >= after:
            length = int.from_bytes(end[-after:][:_LENGTH_BYTES], "little")
            return length + after if length + after <= size else 0
    return 0


def _last(file: BinaryIO, size: int, count: int) -> bytes:
    file.seek(size - count)
    return file.read(count)


def _read_seal(file: BinaryIO) -> _Seal | None:
    """The seal, itself checked; None where there is none. Raises _Broken if it is damaged."""
    size = file.seek(0, os.SEEK_END)
    footer_bytes = _footer_bytes(file, size)
    if not footer_bytes or size < footer_bytes + _TAIL.size:
        return None
    tail = _last(file, size, footer_bytes + _TAIL.size)
    of_footer, data_bytes, of_table, mark = _TAIL.unpack(tail[: _TAIL.size])
    if mark != _MARK:
        return None
    blocks = -(-data_bytes // BLOCK_BYTES)
    if data_bytes + blocks * _SUM_BYTES + len(tail) != size:
        raise _Broken("the table of its checksums is not as it was written")
    rest = _last(file, size, size - data_bytes)
    table_end = len(rest) - len(tail) + _TAIL.size
    checked = table_end - len(_MARK) - _SUM_BYTES
    if _sum(rest[:checked]) != of_table:
        raise _Broken("the table of its checksums is not as it was written")
    if _sum(rest[table_end:]) != of_footer:
        raise _Broken("its footer is not as it was written")
    return _Seal(data_bytes, rest[: blocks * _SUM_BYTES], rest)


class SealedFile(io.RawIOBase):
    """A sealed file to read and seek in: each block is checked before a byte of it is given.

    Raises UserError where the file is damaged or not sealed. One of this machine then gets another
    time of change, so that its stamp no longer agrees and its stage writes it anew.
    """

    def __init__(self, path: Path, remedy: str = AGAIN) -> None:
        self._path, self._remedy, self._position = path, remedy, 0
        self._at_hand = -1, b""  # the number and the bytes of the last block
        try:
            self._file = opened(path)
        except OSError as error:
            raise UserError(path, f"cannot be read ({error})", remedy) from error
        try:
            found = _read_seal(self._file)
        except (_Broken, OSError) as error:
            raise self._damaged(str(error)) from error
        if found is None:
            raise self._damaged("it does not end in checksums and a footer")
        self._seal = found
        self._size = found.data_bytes + len(found.rest)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = (0, self._position, self._size)[whence] + offset
        return self._position

    def read(self, size: int | None = -1) -> Any:
        """The next bytes, of the file's own where all of them are in one place."""
        end = self._size if size is None or size < 0 else min(self._position + size, self._size)
        piece = self._piece(self._position, max(end, self._position))
        self._position += len(piece)
        return piece

    def readinto(self, buffer: Any) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()

    def _piece(self, start: int, end: int) -> bytes | memoryview:
        data_bytes, rest = self._seal.data_bytes, self._seal.rest
        if start >= data_bytes or start == end:
            return rest[max(start - data_bytes, 0) : max(end - data_bytes, 0)]
        if end > data_bytes:
            return bytes(self._piece(start, data_bytes)) + rest[: end - data_bytes]
        first, last = start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        begin = first * BLOCK_BYTES
        known, data = self._at_hand
        if not first == last == known:
            data = self._blocks(first, last)
        return memoryview(data)[start - begin : end - begin]

    def _blocks(self, first: int, last: int) -> bytes:
        """The bytes of some blocks. Raises UserError if one is not as it was written."""
        begin = first * BLOCK_BYTES
        count = min((last + 1) * BLOCK_BYTES, self._seal.data_bytes) - begin
        try:
            self._file.seek(begin)
            data = self._file.read(count)
        except OSError as error:
            raise self._damaged(str(error)) from error
        view, sums = memoryview(data), self._seal.sums
        for number in range(first, last + 1):
            start = number * BLOCK_BYTES - begin
            block = view[start : start + BLOCK_BYTES]
            if _sum(block) != sums[number * _SUM_BYTES : (number + 1) * _SUM_BYTES]:
                where = f"from byte {number * BLOCK_BYTES:,} on"
                raise self._damaged(f"its bytes are not as they were written {where}")
        self._at_hand = last, bytes(view[(last - first) * BLOCK_BYTES :])
        return data

    def _damaged(self, problem: str) -> UserError:
        outdate(self._file)
        self._file.close()
        return UserError(self._path, f"is damaged: {problem}", self._remedy)


def check_sealed(path: Path) -> None:
    """Read all of a sealed file. Raises UserError where it is damaged or not sealed."""
    with SealedFile(path) as file:
        while file.read(_READ_BYTES):
            pass


def outdate(file: BinaryIO) -> None:
    """Give a file of this machine another time of change: its stamp no longer agrees with it."""
    with suppress(OSError):  # of an object store, or of another user
        os.utime(file.fileno())


def is_sealed(path: Path) -> bool:
    """Whether a file has a seal, whole or damaged."""
    with opened(path) as file:
        try:
            return _read_seal(file) is not None
        except _Broken:
            return True
