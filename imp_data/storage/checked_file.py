"""Read sealed files, verifying each block before its bytes are used."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.storage.block_checksums import (
    BLOCK_BYTES,
    READ_BYTES,
    SUM_BYTES,
    BrokenSeal,
    block_sum,
    read_seal,
)
from imp_data.storage.object_path import ObjectPath
from imp_data.storage.range_reader import PositionedFile, open_file

REBUILD_REMEDY = (
    "run the same command again: its stage rewrites the file (move it elsewhere first if it is "
    "in an object store or belongs to another user)"
)


class SealedFile(PositionedFile):
    """A sealed file, open for reading; each block is verified before its bytes are returned.

    Raise UserError if the file is damaged or not sealed. The modification time of a damaged local
    file is set to now, so that its stamp no longer matches and its stage rewrites it.
    """

    def __init__(self, path: Path, remedy: str = REBUILD_REMEDY) -> None:
        self._path, self._remedy = path, remedy
        self._at_hand = -1, b""  # number and bytes of the last block
        try:
            self._file = open_file(path)
        except OSError as error:
            raise UserError(path, f"cannot be read ({error})", remedy) from error
        try:
            found = read_seal(self._file)
        except (BrokenSeal, OSError) as error:
            raise self._damaged(str(error)) from error
        if found is None:
            raise self._damaged("it does not end with checksums and a footer")
        self._seal = found
        self._size = found.data_bytes + len(found.rest)

    def read(self, size: int | None = -1) -> Any:
        """Return the next bytes, without a copy if all of them are in one block."""
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
        """Return the bytes of some blocks. Raise UserError if one differs from its checksum."""
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
            if block_sum(block) != sums[number * SUM_BYTES : (number + 1) * SUM_BYTES]:
                where = f"from byte {number * BLOCK_BYTES:,} on"
                raise self._damaged(f"its bytes differ from what was written {where}")
        self._at_hand = last, bytes(view[(last - first) * BLOCK_BYTES :])
        return data

    def _damaged(self, problem: str) -> UserError:
        invalidate(self._path)
        self._file.close()
        return UserError(self._path, f"is damaged: {problem}", self._remedy)


def check_sealed(path: Path) -> None:
    """Read a whole sealed file. Raise UserError if it is damaged or not sealed."""
    with SealedFile(path) as file:
        while file.read(READ_BYTES):
            pass


def invalidate(path: Path) -> None:
    """Set the modification time of a local file to now, so that its stamp no longer matches."""
    if not isinstance(path, ObjectPath):
        with suppress(OSError):  # another user's, or gone
            os.utime(path)


def is_sealed(path: Path) -> bool:
    """Return whether a file has a seal, whole or damaged."""
    with open_file(path) as file:
        try:
            return read_seal(file) is not None
        except BrokenSeal:
            return True
