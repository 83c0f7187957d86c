"""Objects of a store: listed with their states, put whole, removed."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.storage.paths import in_store, reached, there
from imp_data.storage.prefetch import at_once

# What stores say of an object's content or its last change, the surest first.
_CHANGES = (
    *("ETag", "etag", "md5Hash", "content_md5", "checksum", "crc32c"),
    *("LastModified", "last_modified", "mtime", "modificationTime", "updated", "created"),
)


class State(NamedTuple):
    """Size of an object, and what differs once it is another: its checksum where there is one."""

    size: int
    change: str


def state_of(path: Path) -> State | None:
    """The state of an object, of size 0 and "" for a folder; None if there is neither."""
    found = there(path)
    try:
        with reached(path):
            return _state(found.fs.info(found.path))
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


def file_size(path: Path) -> int:
    """How many bytes a file or object has."""
    if in_store(path) is None:
        return path.stat().st_size
    state = state_of(path)
    return state.size if state else 0


def objects_below(path: Path) -> dict[str, State]:
    """State by relative name of every object below a folder, sorted as paths are."""
    found = there(path)
    with reached(path):
        infos = found.fs.find(found.path, detail=True)
    begin = len(found.path.rstrip("/")) + 1
    named = {name[begin:]: _state(info) for name, info in infos.items() if len(name) > begin}
    return {name: named[name] for name in sorted(named, key=lambda n: PurePosixPath(n).parts)}


def _state(info: dict[str, Any]) -> State:
    if info["type"] == "directory":
        return State(0, "")
    change = next((str(info[name]) for name in _CHANGES if info.get(name)), "unknown")
    return State(int(info["size"] or 0), change)


def put(file: Path, target: Path) -> None:
    """Make an object of a file; it appears when it is whole."""
    found = there(target)
    try:
        with reached(target):
            found.fs.put_file(str(file), found.path)
    except FileNotFoundError as error:
        raise _no_bucket(target, error) from error


def put_bytes(data: bytes, target: Path) -> None:
    """Make an object of these bytes."""
    found = there(target)
    try:
        with reached(target):
            found.fs.pipe_file(found.path, data)
    except FileNotFoundError as error:
        raise _no_bucket(target, error) from error


def copied(source: Path, target: Path) -> None:
    """Make an object of another one, within the store."""
    with reached(target):
        there(target).fs.cp_file(there(source).path, there(target).path)


def create(target: Path, data: bytes) -> bool:
    """Make an object of these bytes unless there is one; whether it was made."""
    found = there(target)
    try:
        with reached(target):
            found.fs.pipe_file(found.path, data, mode="create")
    except FileExistsError:
        return False
    except FileNotFoundError as error:
        raise _no_bucket(target, error) from error
    return True


def _no_bucket(target: Path, error: Exception) -> UserError:
    remedy = "make the bucket or mend IMP_DATA_DIR, then run the same command again"
    return UserError(target, f"cannot be written ({error})", remedy)


def put_folder(
    folder: Path, target: Path, last: str, ours: Callable[[Path], bool] | None = None
) -> None:
    """Make objects of a folder's files in the place of those below `target`, or of `ours` in it.

    `last` names the file that says all others are there: the old one goes first, the new one
    comes last.
    """
    before = objects_below(target)
    new = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if last:
        delete_object(target / last)
    for _ in at_once(lambda name: put(folder / name, target / name), sorted(new - {last})):
        pass
    old = sorted(
        name
        for name in before.keys() - new
        if ours is None or ("/" not in name and ours(target / name))
    )
    for _ in at_once(lambda name: delete_object(target / name), old):
        pass
    if last:
        put(folder / last, target / last)


def delete_object(path: Path) -> None:
    """Remove one object, if it is there."""
    found = there(path)
    with suppress(FileNotFoundError), reached(path):
        found.fs.rm_file(found.path)


def check_writable(path: Path) -> None:
    """UserError if no object could be made there; asked before much work is done for it."""
    probe = path.with_name(f".{path.name}.begun")
    put_bytes(b"", probe)
    delete_object(probe)
