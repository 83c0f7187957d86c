"""Files and folders written aside and renamed when whole."""

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
from imp_data.storage.object_store import copied, delete_object, put, put_folder
from imp_data.storage.paths import local_path
from imp_data.storage.replace_folder import (
    KINDS,
    Ours,
    clear_up,
    delete,
    everything,
    replace_folder,
)

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
# What another machine's run has begun and not touched for a week is abandoned.
_ABANDONED_SECONDS = 7 * 24 * 3600
# Of the 255 that a name may have; the rest is for what stands around it.
_LONGEST_NAME_BYTES = 120
_in_use: set[Path] = set()


@contextmanager
def written_aside(
    path: Path, last: str = "", alone: bool = False, ours: Ours | None = None
) -> Iterator[Path]:
    """A path on this machine to write a file or a folder to; it takes `path`'s place when whole.

    After an error or a kill `path` is as it was; leftovers of a run that was killed go at the next
    attempt. `alone`: the caller holds a lock, so one name serves for every attempt, and the folder,
    which may be large, is not looked through.

    Whoever writes a folder says by `ours` what of the one before goes; all else in it is kept. In
    an object store a folder takes one file after another: `last` names the one that says all are
    there; the old one goes first, the new one comes last.
    """
    path = _as_named(path)
    aside = aside_of(_beside(path), alone)
    with writing_to(path):
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            if not alone:
                _clear_leftovers(aside, path, ours)
            _clear(aside, path, ours)
            _in_use.add(aside)
            yield aside
            move(aside, path, last, ours)
        finally:
            _clear(aside, path, ours)
            _in_use.discard(aside)


def _as_named(path: Path) -> Path:
    """The path itself of what a link leads to, or `.` stands for, where it is a folder."""
    if not isinstance(path, ObjectPath) and path.is_dir() and (path.is_symlink() or not path.name):
        return path.resolve()
    return path


def _beside(path: Path) -> Path:
    """What names the place to write to: beside `path`, or below it if that is a disk of its own."""
    path = local_path(path)
    return path / path.name if path.is_dir() and path.is_mount() else path


def _clear(aside: Path, path: Path, ours: Ours | None) -> None:
    """Remove what is unfinished, and bring a replacing to an end that a kill interrupted."""
    remove(aside)
    if ours is not None and not isinstance(path, ObjectPath):
        clear_up(aside, path, ours)


def aside_of(path: Path, alone: bool = False) -> Path:
    """A name beside `path` that no other process or thread uses; see `written_aside`."""
    own = "" if alone else f".{_host()}-{os.getpid()}-{threading.get_ident()}"
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}{own}.partial")


@cache
def _host() -> str:
    return re.sub(r"[^\w]+", "_", socket.gethostname())


def _clear_leftovers(aside: Path, path: Path, ours: Ours | None) -> None:
    """Clear up after attempts at the same file or folder that were killed."""
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
    return int(process) == os.getpid() or not is_alive(int(process))


def is_alive(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """A full disk, or one that may not be written to, is a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise UserError(
            error.filename or path,
            f"cannot be written ({os.strerror(error.errno)})",
            "make room or grant access, then run the same command again; finished stages are kept",
        ) from error


def move(aside: Path, path: Path, last: str = "", ours: Ours | None = None) -> None:
    """Give a finished file or folder of this machine its place; see `written_aside`."""
    if isinstance(path, ObjectPath):
        put_folder(aside, path, last, ours) if aside.is_dir() else put(aside, path)
        remove(aside)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if aside.is_dir() and os.path.lexists(path):
        replace_folder(aside, path, last, ours or everything)
    else:
        os.replace(aside, path)


def share(file: Path, target: Path) -> None:
    """Put a finished file in another place too: as the same file on disk, else as a copy."""
    if file == target:
        return
    if isinstance(target, ObjectPath):
        copied(file, target)
        return
    with written_aside(target) as aside:
        try:
            os.link(file, aside)
        except OSError:
            shutil.copy2(file, aside)


def remove(path: Path) -> None:
    """Remove a file, a folder of this machine, or an object, if it is there."""
    if isinstance(path, ObjectPath):
        delete_object(path)
    else:
        delete(path)


def json_text(value: Any) -> str:
    """JSON for people and programs alike: indented, keys sorted."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a small text file whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
