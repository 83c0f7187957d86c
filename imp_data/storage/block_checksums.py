"""Checksums of an Arrow or Parquet file within the file: a table between its data and its footer.

Readers of both formats begin at the end of a file: a mark, the footer's length, the footer, which
says where the data is. They pass over the table, so a sealed file is a plain one for all others.

    data | xxh3 of each block of it | xxh3 of the footer | bytes of data | xxh3 of the table | mark
         | footer, its length, the format's mark
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
# Bytes of the footer's length and the mark after it, by the mark.
_ENDS = {b"PAR1": 8, b"ARROW1": 10}
_LENGTH_BYTES = 4
READ_BYTES = 1 << 20
block_sum = xxhash.xxh3_64_digest


class Seal(NamedTuple):
    """The checksums of `data_bytes` of data, 8 bytes a block; and all that follows the data."""

    data_bytes: int
    sums: bytes
    rest: bytes


class BrokenSeal(Exception):
    """What is wrong with a seal."""


def seal(path: Path) -> None:
    """Add the checksums to a finished Arrow or Parquet file of this machine."""
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


def read_seal(file: BinaryIO) -> Seal | None:
    """The seal, itself checked; None where there is none. Raises BrokenSeal if it is damaged."""
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
        raise BrokenSeal("the table of its checksums is not as it was written")
    rest = _last(file, size, size - data_bytes)
    table_end = len(rest) - len(tail) + _TAIL.size
    checked = table_end - len(_MARK) - SUM_BYTES
    if block_sum(rest[:checked]) != of_table:
        raise BrokenSeal("the table of its checksums is not as it was written")
    if block_sum(rest[table_end:]) != of_footer:
        raise BrokenSeal("its footer is not as it was written")
    return Seal(data_bytes, rest[: blocks * SUM_BYTES], rest)
