"""Write files and folders atomically: under a temporary name, then renamed."""

import errno
import hashlib
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from imp_data.errors import UserError
from imp_data.storage.object_path import ObjectPath
from imp_data.storage.object_store import (
    copy_object,
    delete_object,
    upload,
    upload_bytes,
    upload_folder,
)
from imp_data.storage.paths import local_path
from imp_data.storage.replace_folder import (
    KINDS,
    Ours,
    complete_replacement,
    delete_local,
    replace_folder,
    select_all,
)

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
# A temporary file of another machine that is unchanged for a week is abandoned.
_ABANDONED_SECONDS = 7 * 24 * 3600
# A file system allows 255 bytes; the rest is for the prefix and suffix of the temporary name.
_LONGEST_NAME_BYTES = 120
_in_use: set[Path] = set()


@contextmanager
def write_atomically(
    path: Path, last: str = "", alone: bool = False, ours: Ours | None = None
) -> Iterator[Path]:
    """Yield a temporary path for a file or folder; move it to `path` when the block succeeds.

    After an error or a kill `path` is unchanged; the next attempt deletes what a killed one left.
    Pass `alone` if the caller holds a lock: then every attempt uses the same name, and the parent
    folder, which may be large, is not scanned.

    `ours` selects the entries of an earlier folder that are replaced; all others are kept. In an
    object store files are uploaded one by one: `last` names the file that marks the folder as
    complete. Its old version is deleted first, its new one uploaded last.
    """
    path = _as_named(path)
    aside = temporary_path(_beside(path), alone)
    with disk_errors(path):
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            if not alone:
                _clear_leftovers(aside, path, ours)
            _clear(aside, path, ours)
            _in_use.add(aside)
            yield aside
            move_into_place(aside, path, last, ours)
        finally:
            _clear(aside, path, ours)
            _in_use.discard(aside)


def _as_named(path: Path) -> Path:
    """Resolve a path to a folder that is a link or `.`; return any other path as it is."""
    if not isinstance(path, ObjectPath) and path.is_dir() and (path.is_symlink() or not path.name):
        return path.resolve()
    return path


def _beside(path: Path) -> Path:
    """Return the path whose parent takes the temporary name: `path`, or below a mount point."""
    path = local_path(path)
    return path / path.name if path.is_dir() and path.is_mount() else path


def _clear(aside: Path, path: Path, ours: Ours | None) -> None:
    """Delete an unfinished file or folder; complete a replacement that a kill interrupted."""
    delete_path(aside)
    if ours is not None and not isinstance(path, ObjectPath):
        complete_replacement(aside, path, ours)


def temporary_path(path: Path, alone: bool = False) -> Path:
    """Return a name beside `path` that no other process or thread uses; see `write_atomically`."""
    own = "" if alone else f".{_host()}-{os.getpid()}-{threading.get_ident()}"
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}{own}.partial")


@cache
def _host() -> str:
    return re.sub(r"[^\w]+", "_", socket.gethostname())


def _clear_leftovers(aside: Path, path: Path, ours: Ours | None) -> None:
    """Delete what killed attempts at the same file or folder left."""
    name, _, _ = aside.name.removesuffix(".partial").rpartition(f".{_host()}-")
    kinds = "|".join(KINDS if ours else KINDS[:1])
    own = r"(?:\.(?P<host>\w+)-(?P<pid>\d+)-\d+)?"
    leftover = re.compile(rf"{re.escape(name)}{own}\.(?P<kind>{kinds})")
    for other in list(os.scandir(aside.parent)):
        found = leftover.fullmatch(other.name)
        if found and _is_dead(found["host"], found["pid"], other):
            _clear(aside.with_name(f"{other.name.removesuffix(found['kind'])}partial"), path, ours)


def _is_dead(host: str | None, process: str | None, left: "os.DirEntry[str]") -> bool:
    if Path(left.path) in _in_use:
        return False
    if host is None or process is None:
        return True
    if host != _host():
        with suppress(FileNotFoundError):
            return time.time() - left.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS
        return False
    return int(process) == os.getpid() or not process_is_alive(int(process))


def process_is_alive(process: int) -> bool:
    """Return whether this machine runs a process of that id."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise UserError if the disk is full or not writable."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise UserError(
            error.filename or path,
            f"cannot be written ({os.strerror(error.errno)})",
            "free space or grant access, then run the same command again; finished stages are kept",
        ) from error


def move_into_place(aside: Path, path: Path, last: str = "", ours: Ours | None = None) -> None:
    """Move a finished local file or folder to `path`; see `write_atomically`."""
    if isinstance(path, ObjectPath):
        upload_folder(aside, path, last, ours) if aside.is_dir() else upload(aside, path)
        delete_path(aside)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if aside.is_dir() and os.path.lexists(path):
        replace_folder(aside, path, last, ours or select_all)
    else:
        os.replace(aside, path)


def write_small(path: Path, data: bytes) -> None:
    """Write bytes atomically; the caller holds a lock (see `alone` of `write_atomically`)."""
    if isinstance(path, ObjectPath):
        upload_bytes(data, path)
        return
    with write_atomically(path, alone=True) as aside:
        aside.write_bytes(data)


def link_or_copy(file: Path, target: Path) -> None:
    """Make a finished file available at `target` too: as a hard link, else as a copy."""
    if file == target:
        return
    if isinstance(target, ObjectPath):
        copy_object(file, target)
        return
    with write_atomically(target) as aside:
        try:
            os.link(file, aside)
        except OSError:
            shutil.copy2(file, aside)


def delete_path(path: Path) -> None:
    """Delete a local file or folder, or an object, if it exists."""
    if isinstance(path, ObjectPath):
        delete_object(path)
    else:
        delete_local(path)


def json_text(value: Any) -> str:
    """Return a value as indented JSON with sorted keys."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with write_atomically(path) as aside:
        aside.write_text(text, encoding="utf-8")
