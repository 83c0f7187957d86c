"""Read objects of a store by byte ranges, and local files through the same functions."""

import errno
import io
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from imp_data.storage.object_path import ObjectPath, object_path, store_errors
from imp_data.storage.prefetch import map_ahead

BLOCK_BYTES = 4 << 20
_BLOCKS_KEPT = 4
_WHOLE = 1 << 40


class PositionedFile(io.RawIOBase):
    """Base of seekable files of `_size` bytes; a subclass defines `readinto`."""

    _position = 0
    _size: int

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = (0, self._position, self._size)[whence] + offset
        if position < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = position
        return self._position


class ObjectFile(PositionedFile):
    """An object, read in blocks of which the last few are cached."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        with store_errors(path):
            self._size = int(object_path(path).fs.info(object_path(path).key)["size"])

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        piece = self._bytes_from(self._position)[: len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _bytes_from(self, position: int) -> memoryview:
        """Return at least one byte from a position on."""
        number, within = divmod(position, BLOCK_BYTES)
        block = self._blocks.pop(number, None)
        if block is None:
            begin = number * BLOCK_BYTES
            block = read_range(self._path, begin, min(begin + BLOCK_BYTES, self._size))
        self._blocks[number] = block
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return memoryview(block)[within:]


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading and seeking; fetch an object by ranges, never as a whole."""
    return io.BufferedReader(open_unbuffered(path))


def open_unbuffered(path: Path) -> io.RawIOBase:
    """Open a file as `open_file` does, without a buffer."""
    return ObjectFile(path) if isinstance(path, ObjectPath) else io.FileIO(path)


def read_range(path: Path, start: int, end: int) -> bytes:
    """Return the bytes of an object from `start` up to `end`, or up to its own end."""
    found = object_path(path)
    with store_errors(path):
        data: bytes = found.fs.cat_file(found.key, start=start, end=end)
        return data


def read_object(path: Path, most: int = _WHOLE) -> bytes:
    """Return the first bytes of an object, by default all, by one request."""
    found = object_path(path)
    with store_errors(path):
        try:
            data: bytes = found.fs.cat_file(found.key, start=0, end=most)
            return data
        except FileNotFoundError:
            raise
        except OSError:
            if found.fs.info(found.key)["size"]:
                raise
            return b""  # stores refuse any range of an empty object


def read_files(paths: Iterable[Path], most: int = _WHOLE) -> Iterator[bytes]:
    """Yield the first bytes, by default all, of each file; fetch several objects at once."""
    files = list(paths)
    if not files or not isinstance(files[0], ObjectPath):
        return (_first_local_bytes(file, most) for file in files)
    return map_ahead(partial(read_object, most=most), files)


def _first_local_bytes(file: Path, most: int) -> bytes:
    with file.open("rb") as opened_file:
        return opened_file.read(-1 if most == _WHOLE else most)
