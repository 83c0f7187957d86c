"""A lock that is an object in a store: created if absent, renewed while it is held."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import orjson

from imp_data.errors import UserError
from imp_data.storage.atomic_write import process_is_alive
from imp_data.storage.object_path import store_errors
from imp_data.storage.object_store import create_object, delete_object, upload_bytes
from imp_data.storage.range_reader import read_object

_RENEW_SECONDS = 20.0
# A lock that is unchanged for so long, by the clock of the waiting run, has expired.
_EXPIRE_SECONDS = 120.0
_POLL_SECONDS = 2.0
# Two runs may take over one lock at once; after this pause its content decides.
_SETTLE_SECONDS = 1.0


@contextmanager
def object_lock(
    path: Path, me: dict[str, Any], waiting: Callable[[dict[str, Any]], None]
) -> Iterator[None]:
    """Hold the lock; call `waiting` once with the holder's record if another run holds it.

    Raise UserError at the end if another run considered the lock expired and took it over.
    """
    mine = {**me, "token": secrets.token_hex(8)}
    _take(path, mine, waiting)
    ended = Event()
    keeper = Thread(target=_renew, args=(path, mine, ended), daemon=True)
    keeper.start()
    try:
        yield
        _check_mine(path, mine)
    finally:
        ended.set()
        keeper.join()
        if _content(path).get("token") == mine["token"]:
            delete_object(path)


def _take(path: Path, mine: dict[str, Any], waiting: Callable[[dict[str, Any]], None]) -> None:
    seen: dict[str, Any] = {}
    changed = time.monotonic()
    reported = False
    while not create_object(path, orjson.dumps(mine)):
        now = _content(path)
        if now != seen:
            seen, changed = now, time.monotonic()
        if _is_gone(now, mine) or time.monotonic() - changed > _EXPIRE_SECONDS:
            delete_object(path)
            if create_object(path, orjson.dumps(mine)):
                time.sleep(_SETTLE_SECONDS)
                if _content(path).get("token") == mine["token"]:
                    return
            continue
        if now and not reported:
            reported = True
            waiting(now)
        time.sleep(_POLL_SECONDS)


def _is_gone(holder: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Return whether the holder was a process of this machine that has ended."""
    return holder.get("host") == mine["host"] and not process_is_alive(holder["pid"])


def _renew(path: Path, mine: dict[str, Any], ended: Event) -> None:
    beat = 0
    while not ended.wait(_RENEW_SECONDS):
        beat += 1
        # Retry if the store fails for a while: the lock survives some missed renewals.
        with suppress(UserError, OSError):
            if _content(path).get("token") == mine["token"] and not ended.is_set():
                upload_bytes(orjson.dumps({**mine, "beat": beat}), path)


def _check_mine(path: Path, mine: dict[str, Any]) -> None:
    now = _content(path)
    if now.get("token") != mine["token"]:
        other = f"process {now['pid']} on {now['host']}" if now else "another run"
        problem = f"expired and was taken over by {other}"
        raise UserError(path, problem, "run the same command again when the other has ended")


def _content(path: Path) -> dict[str, Any]:
    try:
        with store_errors(path):
            found: dict[str, Any] = orjson.loads(read_object(path))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return found
