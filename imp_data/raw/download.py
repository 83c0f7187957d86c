"""Download one file: resumed after an interruption, retried on transient errors, verified."""

from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from imp_data.errors import UserError
from imp_data.manifests import UpstreamFile
from imp_data.raw.host_slots import hold_host_slot
from imp_data.raw.http_response import DownloadError, HostUnreachableError, RetryableError
from imp_data.raw.hub_client import request_url
from imp_data.raw.hub_download import HubDownload
from imp_data.raw.minimum_speed import SpeedMonitor
from imp_data.raw.retries import Attempts
from imp_data.raw.transfer import (
    ContentMismatchError,
    DownloadStoppedError,
    Transfer,
    receive_response,
)
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
_CONNECTION_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)

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


def download(transfer: Transfer, addresses: Sequence[str], accept: AcceptFile | None = None) -> str:
    """Download the file from the first address that provides it; return its sha256.

    `accept` may raise DownloadError; the content is then discarded, and the next address is tried.
    """
    redact_logs()  # httpx logs each requested address
    transfer.part.parent.mkdir(parents=True, exist_ok=True)
    errors: list[DownloadError] = []
    for address in addresses:
        try:
            with hold_host_slot(request_url(address), transfer.check_stop):
                digest = _download_with_retries(address, transfer)
            _accept(transfer, digest, address, accept)
        except DownloadStoppedError:
            raise
        except DownloadError as error:
            errors.append(type(error)(f"{shown(address)} {error}", error.remedy))
        else:
            move_into_place(transfer.part, transfer.target)
            transfer.discard()
            return digest
    offline = errors and all(isinstance(error, HostUnreachableError) for error in errors)
    kind = HostUnreachableError if offline else DownloadError
    remedy = next((error.remedy for error in errors if error.remedy), "")
    raise kind("; ".join(map(str, errors)), remedy)


def _accept(transfer: Transfer, digest: str, address: str, accept: AcceptFile | None) -> None:
    try:
        if accept:
            accept(transfer.part, digest, address)
    except DownloadError:
        transfer.discard()
        raise


def _download_with_retries(address: str, transfer: Transfer) -> str:
    """Attempt the download until it succeeds, or until several attempts in a row bring nothing."""
    speed, hub, attempts = SpeedMonitor(), HubDownload(address), Attempts()
    furthest = transfer.find_partial(hub.address).bytes
    with _client() as client:
        while True:
            transfer.check_stop()
            try:
                transfer = hub.complete(transfer)
                return _attempt(client, hub, transfer, speed)
            except RetryableError as error:
                arrived = transfer.find_partial(hub.address).bytes
                attempts.wait(error, arrived > furthest and not error.fruitless)
                furthest = max(furthest, arrived)


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


def _attempt(
    client: httpx.Client, hub: HubDownload, transfer: Transfer, speed: SpeedMonitor
) -> str:
    """Complete `part` and return its sha256; discard it if its content is wrong."""
    address = hub.address
    partial = transfer.find_partial(address)
    try:
        is_complete = bool(partial.bytes) and partial.bytes == transfer.file.bytes
        if not is_complete and not hub.receive(transfer, speed):
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
