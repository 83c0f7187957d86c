"""Downloads one file: resumed after an interruption, retried at the network's edge, verified."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from imp_data.errors import UserError
from imp_data.manifests import File
from imp_data.raw.http_response import Again, Refused, Unreachable
from imp_data.raw.minimum_speed import Pace
from imp_data.raw.transfer import Wanted, Wrong, receive
from imp_data.redaction import address as shown
from imp_data.redaction import guard_logs
from imp_data.storage.atomic_write import move
from imp_data.storage.digests import file_sha256

# The longest silence: a store that fetches a file from tape may take most of a minute.
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)
_PASSING = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
_FRUITLESS_TRIES = 6
# Without any connection so far, nothing is to be resumed, and a person wants to know soon.
_CONNECTING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_CONNECTING_TRIES = 3
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 300.0
_sleep = time.sleep

# Called with a file that has arrived, its sha256 and its address, before it is put in its place.
Accept = Callable[[Path, str, str], None]


def verify_checksum(file: File, path: Path, stated_by: str = "the manifest") -> str:
    """The sha256 of what is at `path`. Raises Refused unless it is what is stated."""
    size = path.stat().st_size
    if file.bytes not in (None, size):
        raise Refused(f"has {size:,} bytes, {stated_by} says {file.bytes:,}")
    digest = file_sha256(path)
    if file.sha256 not in (None, digest):
        raise Refused(f"has sha256 {digest}, {stated_by} says {file.sha256}")
    return digest


def download(wanted: Wanted, addresses: Sequence[str], accept: Accept | None = None) -> str:
    """The sha256 of the file, put in place from the first address that has what is wanted.

    `accept` may raise Refused; what has arrived is then discarded, and the next address is asked.
    """
    guard_logs()  # httpx logs each address that it asks
    wanted.part.parent.mkdir(parents=True, exist_ok=True)
    troubles: list[Refused] = []
    for address in addresses:
        try:
            digest = _insist(address, wanted)
            _accept(wanted, digest, address, accept)
        except Refused as why:
            troubles.append(type(why)(f"{shown(address)} {why}"))
        else:
            move(wanted.part, wanted.target)
            wanted.discard()
            return digest
    offline = troubles and all(isinstance(why, Unreachable) for why in troubles)
    kind = Unreachable if offline else Refused
    raise kind("; ".join(map(str, troubles)))


def _accept(wanted: Wanted, digest: str, address: str, accept: Accept | None) -> None:
    try:
        if accept:
            accept(wanted.part, digest, address)
    except Refused:
        wanted.discard()
        raise


def _insist(address: str, wanted: Wanted) -> str:
    """Attempt it until it succeeds, or until some tries in a row brought nothing new."""
    furthest, fruitless, connected = wanted.begun(address).bytes, 0, False
    pace = Pace()
    with _client() as client:
        while True:
            try:
                return _attempt(client, address, wanted, pace)
            except Again as trouble:
                arrived = wanted.begun(address).bytes
                fruitful = arrived > furthest and not trouble.in_vain
                fruitless = 1 if fruitful else fruitless + 1
                furthest = max(furthest, arrived)
                connected = connected or not trouble.unreachable
                if not connected and fruitless == _CONNECTING_TRIES:
                    raise Unreachable(f"cannot be reached: {trouble}") from trouble
                if fruitless == _FRUITLESS_TRIES:
                    raise Refused(f"fails again and again: {trouble}") from trouble
                doubled = _FIRST_PAUSE_SECONDS * 2 ** (fruitless - 1)
                pause = doubled if trouble.pause_seconds is None else trouble.pause_seconds
            _sleep(min(pause, _LONGEST_PAUSE_SECONDS))


def _client() -> httpx.Client:
    """Redirects are followed by `answered`. Raises UserError where a proxy is none."""
    try:
        return httpx.Client(timeout=_TIMEOUT)
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        problem = f"names no proxy that can be used ({error})"
        remedy = "write http://host:port; for socks5:// pip install 'httpx[socks]'"
        raise UserError("HTTP_PROXY, HTTPS_PROXY or ALL_PROXY", problem, remedy) from None


def _attempt(client: httpx.Client, address: str, wanted: Wanted, pace: Pace) -> str:
    """The sha256 of what then is in `part`; what proves wrong there is discarded."""
    begun = wanted.begun(address)
    try:
        if not begun.bytes or begun.bytes != wanted.file.bytes:
            while not receive(client, address, wanted, pace):
                pass
        return _verified(wanted)
    except _PASSING as error:
        why = str(error) or type(error).__name__
        raise Again(why, unreachable=isinstance(error, _CONNECTING)) from error
    except (httpx.InvalidURL, UnicodeError):
        # What httpx says of it may be a piece of a password.
        raise Refused("cannot be asked: it is no address that httpx understands") from None
    except httpx.HTTPError as error:
        raise Refused(f"cannot be asked: {error}") from error
    except Again as trouble:
        if trouble.anew:
            wanted.discard()
        raise
    except Wrong as why:
        wanted.discard()
        if begun.bytes:  # The fault may lie in what was there before.
            raise Again(str(why), pause_seconds=0) from None
        raise


def _verified(wanted: Wanted) -> str:
    try:
        return verify_checksum(wanted.file, wanted.part, wanted.stated_by)
    except Refused as why:
        raise Wrong(str(why)) from None
