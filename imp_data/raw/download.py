"""Download one file: resumed after an interruption, retried on transient errors, verified."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from imp_data.errors import UserError
from imp_data.manifests import UpstreamFile
from imp_data.raw.http_response import DownloadError, HostUnreachableError, RetryableError
from imp_data.raw.minimum_speed import SpeedMonitor
from imp_data.raw.transfer import ContentMismatchError, Transfer, receive_response
from imp_data.redaction import address as shown
from imp_data.redaction import redact_logs
from imp_data.storage.atomic_write import move_into_place
from imp_data.storage.digests import file_sha256

# The longest silence: a store that fetches a file from tape may take most of a minute.
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)
_TRANSIENT = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
)
_MAX_FRUITLESS_ATTEMPTS = 6
# Before the first connection there is nothing to resume, and the user should know soon.
_CONNECTION_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_MAX_CONNECTION_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 300.0
_sleep = time.sleep

# Called with a complete file, its sha256 and its address, before the file is moved into place.
AcceptFile = Callable[[Path, str, str], None]


def verify_checksum(file: UpstreamFile, path: Path, stated_by: str = "the manifest") -> str:
    """Return the sha256 of the file at `path`. Raise DownloadError unless it is the stated one."""
    size = path.stat().st_size
    if file.bytes not in (None, size):
        raise DownloadError(f"has {size:,} bytes, {stated_by} says {file.bytes:,}")
    digest = file_sha256(path)
    if file.sha256 not in (None, digest):
        raise DownloadError(f"has sha256 {digest}, {stated_by} says {file.sha256}")
    return digest


# Not huggingface_hub, also for files of the Hub: here a download must resume from mirrors, obey
# the size and speed limits of any host, and follow no redirect into the local network.
def download(transfer: Transfer, addresses: Sequence[str], accept: AcceptFile | None = None) -> str:
    """Download the file from the first address that provides it; return its sha256.

    `accept` may raise DownloadError; the content is then discarded, and the next address is tried.
    """
    redact_logs()  # httpx logs each requested address
    transfer.part.parent.mkdir(parents=True, exist_ok=True)
    errors: list[DownloadError] = []
    for address in addresses:
        try:
            digest = _download_with_retries(address, transfer)
            _accept(transfer, digest, address, accept)
        except DownloadError as error:
            errors.append(type(error)(f"{shown(address)} {error}"))
        else:
            move_into_place(transfer.part, transfer.target)
            transfer.discard()
            return digest
    offline = errors and all(isinstance(error, HostUnreachableError) for error in errors)
    kind = HostUnreachableError if offline else DownloadError
    raise kind("; ".join(map(str, errors)))


def _accept(transfer: Transfer, digest: str, address: str, accept: AcceptFile | None) -> None:
    try:
        if accept:
            accept(transfer.part, digest, address)
    except DownloadError:
        transfer.discard()
        raise


# Not tenacity, whose limits count attempts: these count attempts without progress, with another
# limit before the first connection, and the server may set the pause.
def _download_with_retries(address: str, transfer: Transfer) -> str:
    """Attempt the download until it succeeds, or until several attempts in a row bring nothing."""
    furthest, fruitless, connected = transfer.find_partial(address).bytes, 0, False
    speed = SpeedMonitor()
    with _client() as client:
        while True:
            try:
                return _attempt(client, address, transfer, speed)
            except RetryableError as error:
                arrived = transfer.find_partial(address).bytes
                fruitful = arrived > furthest and not error.fruitless
                fruitless = 1 if fruitful else fruitless + 1
                furthest = max(furthest, arrived)
                connected = connected or not error.unreachable
                if not connected and fruitless == _MAX_CONNECTION_ATTEMPTS:
                    raise HostUnreachableError(f"cannot be reached: {error}") from error
                if fruitless == _MAX_FRUITLESS_ATTEMPTS:
                    raise DownloadError(f"fails again and again: {error}") from error
                doubled = _FIRST_PAUSE_SECONDS * 2 ** (fruitless - 1)
                pause = doubled if error.pause_seconds is None else error.pause_seconds
            _sleep(min(pause, _MAX_PAUSE_SECONDS))


def _client() -> httpx.Client:
    """Return a client that follows no redirects (`open_response` does).

    Raise UserError if a proxy of the environment is invalid.
    """
    try:
        return httpx.Client(timeout=_TIMEOUT)
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        problem = f"names no usable proxy ({error})"
        remedy = "write http://host:port; for socks5:// pip install 'httpx[socks]'"
        raise UserError("HTTP_PROXY, HTTPS_PROXY or ALL_PROXY", problem, remedy) from None


def _attempt(client: httpx.Client, address: str, transfer: Transfer, speed: SpeedMonitor) -> str:
    """Complete `part` and return its sha256; discard it if its content is wrong."""
    partial = transfer.find_partial(address)
    try:
        if not partial.bytes or partial.bytes != transfer.file.bytes:
            while not receive_response(client, address, transfer, speed):
                pass
        return _verify(transfer)
    except _TRANSIENT as error:
        why = str(error) or type(error).__name__
        raise RetryableError(why, unreachable=isinstance(error, _CONNECTION_ERRORS)) from error
    except (httpx.InvalidURL, UnicodeError):
        # The message of httpx may contain a part of a password.
        raise DownloadError("cannot be requested: httpx does not accept the address") from None
    except httpx.HTTPError as error:
        raise DownloadError(f"cannot be requested: {error}") from error
    except RetryableError as error:
        if error.discard:
            transfer.discard()
        raise
    except ContentMismatchError as error:
        transfer.discard()
        if partial.bytes:  # The fault may lie in an earlier part.
            raise RetryableError(str(error), pause_seconds=0) from None
        raise


def _verify(transfer: Transfer) -> str:
    try:
        return verify_checksum(transfer.file, transfer.part, transfer.stated_by)
    except DownloadError as error:
        raise ContentMismatchError(str(error)) from None
