"""Limit the downloads from one host at a time, over all processes of this user on this machine."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from imp_data.errors import UserError
from imp_data.redaction import redact
from imp_data.storage.digests import text_digest

_VARIABLE = "IMP_DOWNLOADS_PER_HOST"
# What browsers allow a host is six; dataset hosts of universities are slower than the Hub.
_DEFAULT_DOWNLOADS = 4
_POLL_SECONDS = 0.1


def downloads_per_host() -> int:
    """Return IMP_DOWNLOADS_PER_HOST. Raise UserError unless it is a positive number."""
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return _DEFAULT_DOWNLOADS
    if not text.isdecimal() or not int(text):
        raise UserError(_VARIABLE, f"is {text!r}, not a positive number", "write 4, for example")
    return int(text)


@contextmanager
def hold_host_slot(url: str, check_stop: Callable[[], None]) -> Iterator[None]:
    """Wait until fewer downloads from the host of an address run than allowed; hold a slot.

    A slot is a lock of the operating system, which ends with its process. `check_stop` raises what
    is to end the wait.
    """
    lock = _wait_for_slot(url, check_stop)
    try:
        yield
    finally:
        if lock:
            lock.release()


def _wait_for_slot(url: str, check_stop: Callable[[], None]) -> FileLock | None:
    slots = _slots(url)
    with suppress(OSError):
        Path(slots[0].lock_file).parent.mkdir(mode=0o700, exist_ok=True)
    while True:
        check_stop()
        for lock in slots:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            except OSError as error:
                notice = f"no limit per host, because locks fail ({error})"
                print(redact(f"{lock.lock_file}: {notice}"), file=sys.stderr)
                return None
            return lock
        time.sleep(_POLL_SECONDS)


def _slots(url: str) -> list[FileLock]:
    with suppress(ValueError):
        url = urlsplit(url).netloc.rpartition("@")[2]
    # Not IMP_SCRATCH: the limit holds for all runs of this user on this machine.
    folder = Path(tempfile.gettempdir()) / f"imp-data-hosts-{os.getuid()}"
    name = text_digest(url)[:16]
    return [FileLock(folder / f"{name}-{n}.lock") for n in range(downloads_per_host())]
