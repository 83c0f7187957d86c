"""Objects of a store: read by ranges, listed with their states, put whole."""

import errno
import io
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

from imp_data.errors import UserError
from imp_data.places import in_store, reached

if TYPE_CHECKING:
    from upath import UPath

BLOCK_BYTES = 4 << 20
_BLOCKS_KEPT = 4
_AT_ONCE = 16
_WHOLE = 1 << 40
# What stores say of an object's content or its last change, the surest first.
_CHANGES = (
    *("ETag", "etag", "md5Hash", "content_md5", "checksum", "crc32c"),
    *("LastModified", "last_modified", "mtime", "modificationTime", "updated", "created"),
)

Item = TypeVar("Item")
Result = TypeVar("Result")


class State(NamedTuple):
    """Size of an object, and what differs once it is another: its checksum where there is one."""

    size: int
    change: str


def _there(path: Path) -> "UPath":
    there = in_store(path)
    assert there is not None, f"{path} is on this machine"
    return there


class ObjectFile(io.RawIOBase):
    """An object's bytes by ranges, in blocks of which the last few are kept."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        with reached(path):
            self._size = int(_there(path).fs.info(_there(path).path)["size"])

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

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        piece = self._at_hand(self._position)[: len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _at_hand(self, position: int) -> memoryview:
        """Some bytes from a position on, at least one."""
        number, within = divmod(position, BLOCK_BYTES)
        block = self._blocks.pop(number, None)
        if block is None:
            begin = number * BLOCK_BYTES
            block = piece_of(self._path, begin, min(begin + BLOCK_BYTES, self._size))
        self._blocks[number] = block
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return memoryview(block)[within:]


def opened(path: Path) -> BinaryIO:
    """A file to read and seek in; an object is fetched by ranges, never as a whole."""
    if in_store(path) is None:
        return path.open("rb")
    return io.BufferedReader(ObjectFile(path))


def piece_of(path: Path, start: int, end: int) -> bytes:
    """Bytes of an object from `start` up to `end`, or up to its own end."""
    there = _there(path)
    with reached(path):
        data: bytes = there.fs.cat_file(there.path, start=start, end=end)
        return data


def first_bytes(path: Path, most: int = _WHOLE) -> bytes:
    """The first bytes of an object, by one request."""
    there = _there(path)
    with reached(path):
        try:
            data: bytes = there.fs.cat_file(there.path, start=0, end=most)
            return data
        except FileNotFoundError:
            raise
        except OSError:
            if there.fs.info(there.path)["size"]:
                raise
            return b""  # stores refuse any range of nothing


def contents(paths: Iterable[Path]) -> Iterator[bytes]:
    """The bytes of files, one after another; objects are fetched some at a time."""
    files = list(paths)
    if not files or in_store(files[0]) is None:
        return (file.read_bytes() for file in files)
    return at_once(first_bytes, files)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Kept: ending a pool waits for its threads, which must not happen as garbage is freed."""
    return ThreadPoolExecutor(_AT_ONCE, "store")


def at_once(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of each in order, some under way: a store answers late, but many at a time.

    `function` must not itself use this.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(_threads().submit(function, item))
            if len(waiting) >= _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def state_of(path: Path) -> State | None:
    """The state of an object, of size 0 and "" for a folder; None if there is neither."""
    there = _there(path)
    try:
        with reached(path):
            return _state(there.fs.info(there.path))
    except FileNotFoundError:
        return None


def is_there(path: Path) -> bool:
    """Whether there is a file or folder. A UPath's own methods take a failure to ask for a no."""
    return path.exists() if in_store(path) is None else state_of(path) is not None


def is_file(path: Path) -> bool:
    """Whether there is a file. A UPath's own methods take a failure to ask for a no."""
    if in_store(path) is None:
        return path.is_file()
    state = state_of(path)
    return state is not None and state.change != ""


def objects_below(path: Path) -> dict[str, State]:
    """State by relative name of every object below a folder, sorted as paths are."""
    there = _there(path)
    with reached(path):
        found = there.fs.find(there.path, detail=True)
    begin = len(there.path.rstrip("/")) + 1
    named = {name[begin:]: _state(info) for name, info in found.items() if len(name) > begin}
    return {name: named[name] for name in sorted(named, key=lambda n: PurePosixPath(n).parts)}


def _state(info: dict[str, Any]) -> State:
    if info["type"] == "directory":
        return State(0, "")
    change = next((str(info[name]) for name in _CHANGES if info.get(name)), "unknown")
    return State(int(info["size"] or 0), change)


def put(file: Path, target: Path) -> None:
    """Make an object of a file; it appears when it is whole."""
    there = _there(target)
    try:
        with reached(target):
            there.fs.put_file(str(file), there.path)
    except FileNotFoundError as error:
        raise _no_bucket(target, error) from error


def put_bytes(data: bytes, target: Path) -> None:
    """Make an object of these bytes."""
    there = _there(target)
    try:
        with reached(target):
            there.fs.pipe_file(there.path, data)
    except FileNotFoundError as error:
        raise _no_bucket(target, error) from error


def _no_bucket(target: Path, error: Exception) -> UserError:
    remedy = "make the bucket or mend IMP_DATA_DIR, then run the same command again"
    return UserError(target, f"cannot be written ({error})", remedy)


def put_folder(folder: Path, target: Path, last: str) -> None:
    """Make objects of a folder's files in the place of those below `target`.

    `last` names the file that says all others are there: the old one goes first, the new one
    comes last.
    """
    before = objects_below(target)
    new = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if last:
        removed(target / last)
    for _ in at_once(lambda name: put(folder / name, target / name), sorted(new - {last})):
        pass
    for _ in at_once(lambda name: removed(target / name), sorted(before.keys() - new)):
        pass
    if last:
        put(folder / last, target / last)


def removed(path: Path) -> None:
    """Remove one object, if it is there."""
    there = _there(path)
    with suppress(FileNotFoundError), reached(path):
        there.fs.rm_file(there.path)


def check_writable(path: Path) -> None:
    """UserError if no object could be made there; asked before much work is done for it."""
    probe = path.with_name(f".{path.name}.begun")
    put_bytes(b"", probe)
    removed(probe)
