"""Locks between runs; a waiting run prints which process holds the lock.

On disk the lock is one of the operating system, which releases it when a process ends in any way.
In an object store it is an object that its holder renews; another run takes over an expired one.
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

from imp_data.redaction import redact
from imp_data.storage.atomic_write import disk_errors
from imp_data.storage.object_lock import object_lock
from imp_data.storage.object_path import ObjectPath

if TYPE_CHECKING:
    from filelock import BaseFileLock

_POLL_SECONDS = 0.1
# Shorter waits are not reported.
_BRIEF_SECONDS = 0.5
# Errors of file systems without locks, such as some network mounts.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def hold_lock(path: Path, label: str, who: str = "") -> Iterator[None]:
    """Hold the lock at `path` for the block; report a wait by one line on stderr.

    `label` names the work, `who` what this run does it for; a waiting run prints both.
    """
    me = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "for": who,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    if isinstance(path, ObjectPath):
        with object_lock(path, me, lambda holder: _report_wait(label, holder)):
            yield
        return
    with _file_lock(path, label, me):
        yield


@contextmanager
def _file_lock(path: Path, label: str, me: dict[str, Any]) -> Iterator[None]:
    from filelock import FileLock

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Every user who may write to the folder may wait for the lock.
        lock = FileLock(path, mode=0o666, poll_interval=_POLL_SECONDS)
        try:
            _acquire(lock, path, label)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _report(
                f"{label}: {path.parent} supports no locks; start no other run that writes there"
            )
    try:
        before = _holder(path)
        if before and lock.is_locked:
            _report(f"{label}: {_describe(before)} was interrupted; the work starts again")
        with disk_errors(path):
            path.write_bytes(orjson.dumps(me))
        yield
        path.write_bytes(b"")
    except Exception:
        path.write_bytes(b"")
        raise
    finally:
        lock.release()


def _acquire(lock: "BaseFileLock", path: Path, label: str) -> None:
    """Take the lock; report its holder once, when it is known."""
    from filelock import Timeout

    reported = False
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=_BRIEF_SECONDS)
            return
        holder = _holder(path)  # empty between two holders
        if holder and not reported:
            reported = True
            _report_wait(label, holder)


def _holder(path: Path) -> dict[str, Any]:
    """Return the record of the lock's holder; empty if no run holds it."""
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found


def _report_wait(label: str, holder: dict[str, Any]) -> None:
    _report(f"{label}: waits for {_describe(holder)}")


def _describe(holder: dict[str, Any]) -> str:
    """Return `process 4711 on this machine (mixture demo), running since 2026-11-25 09:12:13,`."""
    here = holder["host"] == socket.gethostname()
    whose = f" ({holder['for']})" if holder["for"] else ""
    machine = "this machine" if here else holder["host"]
    return f"process {holder['pid']} on {machine}{whose}, running since {holder['since']},"


def _report(line: str) -> None:
    print(redact(line.rstrip(",")), file=sys.stderr, flush=True)
