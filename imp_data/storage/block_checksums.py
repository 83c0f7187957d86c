"""Block checksums within an Arrow or Parquet file, in a table between its data and its footer.

Readers of both formats begin at the end of the file, with a magic number, the footer's length and
the footer, which holds the offsets of the data. They skip the table, so that any reader reads a
sealed file.

    data | xxh3 of each block of it | xxh3 of the footer | bytes of data | xxh3 of the table | mark
         | footer, its length, the format's magic number
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import xxhash

# Small enough that a column read by itself costs little of its neighbours.
BLOCK_BYTES = 1 << 16
_MARK = b"xxh3seal"
_TAIL = struct.Struct("<8sQ8s8s")
SUM_BYTES = 8
# Bytes of the footer's length and the magic number after it, by magic number.
_ENDS = {b"PAR1": 8, b"ARROW1": 10}
_LENGTH_BYTES = 4
READ_BYTES = 1 << 20
block_sum = xxhash.xxh3_64_digest


class Seal(NamedTuple):
    """The checksums of `data_bytes` of data, 8 bytes per block, and all bytes after the data."""

    data_bytes: int
    sums: bytes
    rest: bytes


class BrokenSeal(Exception):
    """A seal is damaged; the message states how."""


def seal(path: Path) -> None:
    """Add the checksums to a finished local Arrow or Parquet file."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        footer = _last(file, size, _footer_bytes(file, size))
        data_bytes = size - len(footer)
        sums = b"".join(_sums_of(file, data_bytes))
        head = sums + block_sum(footer) + data_bytes.to_bytes(8, "little")
        file.seek(data_bytes)
        file.write(head + block_sum(head) + _MARK + footer)


def _sums_of(file: BinaryIO, data_bytes: int) -> Iterator[bytes]:
    file.seek(0)
    for begin in range(0, data_bytes, READ_BYTES):
        piece = memoryview(file.read(min(READ_BYTES, data_bytes - begin)))
        for start in range(0, len(piece), BLOCK_BYTES):
            yield block_sum(piece[start : start + BLOCK_BYTES])


def _footer_bytes(file: BinaryIO, size: int) -> int:
    """Return the size of footer, length and magic number; 0 for another file format."""
    end = _last(file, size, min(size, max(_ENDS.values())))
    for mark, after in _ENDS.items():
        if end.endswith(mark) and len(end) >= after:
            length = int.from_bytes(end[-after:][:_LENGTH_BYTES], "little")
            return length + after if length + after <= size else 0
    return 0


def _last(file: BinaryIO, size: int, count: int) -> bytes:
    file.seek(size - count)
    return file.read(count)


def read_seal(file: BinaryIO) -> Seal | None:
    """Return the verified seal, or None if there is none. Raise BrokenSeal if it is damaged."""
    size = file.seek(0, os.SEEK_END)
    footer_bytes = _footer_bytes(file, size)
    if not footer_bytes or size < footer_bytes + _TAIL.size:
        return None
    tail = _last(file, size, footer_bytes + _TAIL.size)
    of_footer, data_bytes, of_table, mark = _TAIL.unpack(tail[: _TAIL.size])
    if mark != _MARK:
        return None
    blocks = -(-data_bytes // BLOCK_BYTES)
    if data_bytes + blocks * SUM_BYTES + len(tail) != size:
        raise BrokenSeal("its table of checksums differs from what was written")
    rest = _last(file, size, size - data_bytes)
    table_end = len(rest) - len(tail) + _TAIL.size
    checked = table_end - len(_MARK) - SUM_BYTES
    if block_sum(rest[:checked]) != of_table:
        raise BrokenSeal("its table of checksums differs from what was written")
    if block_sum(rest[table_end:]) != of_footer:
        raise BrokenSeal("its footer differs from what was written")
    return Seal(data_bytes, rest[: blocks * SUM_BYTES], rest)
