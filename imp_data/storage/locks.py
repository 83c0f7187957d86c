"""One run at a time does a piece of work; others wait for it, and say whom they wait for.

On disk the lock is the operating system's, which lets go when a process ends, however it ends.
In an object store it is an object that its holder renews; one that is not renewed is taken over.
"""

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from imp_data.redaction import redacted
from imp_data.storage.atomic_write import writing_to
from imp_data.storage.object_lock import object_lock
from imp_data.storage.object_path import ObjectPath

if TYPE_CHECKING:
    from filelock import BaseFileLock

_POLL_SECONDS = 0.1
# A wait that is over sooner is not worth a line.
_BRIEF_SECONDS = 0.5
# Of file systems that know no locks, such as some network mounts.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def held(path: Path, label: str, who: str = "") -> Iterator[None]:
    """Hold the lock at `path` for the block; one line on stderr tells of a wait that lasts.

    `label` is the work, `who` says for what this run does it; a waiting run shows both.
    """
    me = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "for": who,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    if isinstance(path, ObjectPath):
        with object_lock(path, me, lambda holder: _waiting(label, holder)):
            yield
        return
    with _file_lock(path, label, me):
        yield


@contextmanager
def _file_lock(path: Path, label: str, me: dict[str, Any]) -> Iterator[None]:
    from filelock import FileLock

    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whoever may write to the folder may wait here.
        lock = FileLock(path, mode=0o666, poll_interval=_POLL_SECONDS)
        try:
            _acquire(lock, path, label)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _say(f"{label}: {path.parent} knows no locks: let no other run write there meanwhile")
    try:
        before = _holder(path)
        if before and lock.is_locked:
            _say(f"{label}: {_named(before)} ended in the midst of it; it is done anew")
        with writing_to(path):
            path.write_bytes(orjson.dumps(me))
        yield
        path.write_bytes(b"")
    except Exception:
        path.write_bytes(b"")
        raise
    finally:
        lock.release()


def _acquire(lock: "BaseFileLock", path: Path, label: str) -> None:
    """Take the lock; who holds it is announced once, when that is known."""
    from filelock import Timeout

    told = False
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=_BRIEF_SECONDS)
            return
        holder = _holder(path)  # empty between two holders
        if holder and not told:
            told = True
            _waiting(label, holder)


def _holder(path: Path) -> dict[str, Any]:
    """What the holder wrote; nothing where it has let go."""
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found


def _waiting(label: str, holder: dict[str, Any]) -> None:
    _say(f"{label}: waits for {_named(holder)}")


def _named(holder: dict[str, Any]) -> str:
    """`process 4711 on this machine (mixture demo), at it since 2026-11-25 09:12:13`"""
    here = holder["host"] == socket.gethostname()
    whose = f" ({holder['for']})" if holder["for"] else ""
    machine = "this machine" if here else holder["host"]
    return f"process {holder['pid']} on {machine}{whose}, at it since {holder['since']},"


def _say(line: str) -> None:
    print(redacted(line.rstrip(",")), file=sys.stderr, flush=True)
