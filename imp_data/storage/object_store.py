"""List, upload, copy and delete objects of a store."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.storage.object_path import ObjectPath, object_path, store_errors
from imp_data.storage.prefetch import map_ahead

# Fields of an object's content or last change, by store; the most reliable first.
_CHANGES = (
    *("ETag", "etag", "md5Hash", "content_md5", "checksum", "crc32c"),
    *("LastModified", "last_modified", "mtime", "modificationTime", "updated", "created"),
)


class ObjectState(NamedTuple):
    """Size of an object, and its checksum, or its time of change where there is no checksum."""

    size: int
    change: str


def object_state(path: Path) -> ObjectState | None:
    """Return the state of an object, (0, "") for a folder, None if there is neither."""
    found = object_path(path)
    try:
        with store_errors(path):
            return _state(found.fs.info(found.key))
    except FileNotFoundError:
        return None


def exists(path: Path) -> bool:
    """Return whether there is a file or folder."""
    return object_state(path) is not None if isinstance(path, ObjectPath) else path.exists()


def is_file(path: Path) -> bool:
    """Return whether there is a file."""
    if not isinstance(path, ObjectPath):
        return path.is_file()
    state = object_state(path)
    return state is not None and state.change != ""


def file_size(path: Path) -> int:
    """Return the size of a file or object."""
    if not isinstance(path, ObjectPath):
        return path.stat().st_size
    state = object_state(path)
    return state.size if state else 0


def list_objects(path: Path) -> dict[str, ObjectState]:
    """Return the state of every object below a folder by relative name, sorted as paths are."""
    found = object_path(path)
    with store_errors(path):
        infos = found.fs.find(found.key, detail=True)
    begin = len(found.key.rstrip("/")) + 1
    named = {name[begin:]: _state(info) for name, info in infos.items() if len(name) > begin}
    return {name: named[name] for name in sorted(named, key=lambda n: PurePosixPath(n).parts)}


def _state(info: dict[str, Any]) -> ObjectState:
    if info["type"] == "directory":
        return ObjectState(0, "")
    change = next((str(info[name]) for name in _CHANGES if info.get(name)), "unknown")
    return ObjectState(int(info["size"] or 0), change)


def upload(file: Path, target: Path) -> None:
    """Upload a file; the object appears when it is complete."""
    found = object_path(target)
    try:
        with store_errors(target):
            found.fs.put_file(str(file), found.key)
    except FileNotFoundError as error:
        raise _no_bucket(target, error) from error


def upload_bytes(data: bytes, target: Path) -> None:
    """Upload bytes as an object."""
    found = object_path(target)
    try:
        with store_errors(target):
            found.fs.pipe_file(found.key, data)
    except FileNotFoundError as error:
        raise _no_bucket(target, error) from error


def copy_object(source: Path, target: Path) -> None:
    """Copy an object within the store."""
    with store_errors(target):
        object_path(target).fs.cp_file(object_path(source).key, object_path(target).key)


def create_object(target: Path, data: bytes) -> bool:
    """Upload bytes unless the object exists; return whether they were uploaded."""
    found = object_path(target)
    try:
        with store_errors(target):
            found.fs.pipe_file(found.key, data, mode="create")
    except FileExistsError:
        return False
    except FileNotFoundError as error:
        raise _no_bucket(target, error) from error
    return True


def _no_bucket(target: Path, error: Exception) -> UserError:
    remedy = "create the bucket or correct IMP_DATA_DIR, then run the same command again"
    return UserError(target, f"cannot be written ({error})", remedy)


def upload_folder(
    folder: Path, target: Path, last: str, ours: Callable[[Path], bool] | None = None
) -> None:
    """Upload a folder, replacing all objects below `target`, or those that `ours` selects.

    `last` names the file that marks the folder as complete: its old version is deleted first, its
    new one uploaded last.
    """
    before = list_objects(target)
    new = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if last:
        delete_object(target / last)
    first = sorted(new - {last})
    for _ in map_ahead(lambda name: upload(folder / name, target / name), first):
        pass
    old = sorted(
        name
        for name in before.keys() - new
        if ours is None or ("/" not in name and ours(target / name))
    )
    for _ in map_ahead(lambda name: delete_object(target / name), old):
        pass
    if last:
        upload(folder / last, target / last)


def delete_object(path: Path) -> None:
    """Delete one object, if it exists."""
    found = object_path(path)
    with suppress(FileNotFoundError), store_errors(path):
        found.fs.rm_file(found.key)


def check_writable(path: Path) -> None:
    """Raise UserError if no object can be written there; call it before long work."""
    probe = path.with_name(f".{path.name}.begun")
    upload_bytes(b"", probe)
    delete_object(probe)
