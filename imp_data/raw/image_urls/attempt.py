"""One attempt to download one image: requests, redirects, headers, body."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from imp_data.raw.http_response import parse_retry_after
from imp_data.raw.image_urls.address_check import (
    NOT_PUBLIC,
    CheckedResolver,
    RefusedAddressError,
    check_url,
)
from imp_data.raw.image_urls.body import Body, receive_body
from imp_data.raw.image_urls.failure import FetchError
from imp_data.raw.image_urls.hosts import Host, HostQueue
from imp_data.raw.image_urls.robots_tag import find_refusal
from imp_data.raw.image_urls.settings import FetchSettings
from imp_data.raw.image_urls.status import FailureReason, Retry
from imp_data.redaction import redact

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# A connection that waits for another URL of its host; many hosts have one URL.
_KEEP_ALIVE_SECONDS = 3.0
_REASONS = {
    **dict.fromkeys((404, 410), FailureReason.GONE),
    **dict.fromkeys((401, 403, 451), FailureReason.DENIED),
    429: FailureReason.RATE_LIMITED,
    408: FailureReason.SERVER_ERROR,
    425: FailureReason.SERVER_ERROR,
}


class Received(NamedTuple):
    """An image in a temporary file."""

    body: Body
    http_status: int
    final_url: str


@asynccontextmanager
async def open_session(settings: FetchSettings) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session without cookies and redirects, whose connections are checked."""
    resolver = CheckedResolver(settings.private_hosts)
    connector = aiohttp.TCPConnector(
        limit=0,  # HostQueue limits connections
        resolver=resolver,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        socket_factory=resolver.create_socket,
    )
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=settings.connect_seconds, sock_read=settings.read_seconds
    )
    headers = {
        "User-Agent": settings.user_agent,
        "Accept": "image/*, */*;q=0.1",
        "Accept-Encoding": "identity",
    }
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        yield session


class Client(NamedTuple):
    """What all attempts of a run share."""

    session: aiohttp.ClientSession
    hosts: HostQueue[Any]
    settings: FetchSettings


async def attempt(client: Client, host: Host[Any], address: str, target: Path) -> Received:
    """Download one image to `target`, in a slot of `host`, which is free afterwards.

    Raise FetchError, with `final_url` if the URL redirects.
    """
    hosts, settings = client.hosts, client.settings
    held: Host[Any] | None = host
    url, seconds = None, settings.total_seconds
    try:
        url = check_url(address, settings.private_hosts)
        for _ in range(_MAX_REDIRECTS + 1):
            begun = _now()
            found = await _timed_request(client, url, target, seconds)
            seconds = max(seconds - (_now() - begun), 0.0)
            if isinstance(found, Received):
                hosts.note_answer(held or host)
                return found
            url = _redirect_target(url, found, settings.private_hosts)
            held, left = None, held  # nothing is held if the wait is cancelled
            held = await _move(hosts, left or host, url)
        raise FetchError(FailureReason.REDIRECTS, f"redirects more than {_MAX_REDIRECTS} times")
    except FetchError as error:
        if url is not None and str(url) != address:
            error.final_url = redact(str(url))
        if held is not None:
            _note(hosts, held, error, settings)
        raise
    finally:
        if held is not None:
            hosts.release(held)


async def _move(hosts: HostQueue[Any], held: Host[Any], url: URL) -> Host[Any]:
    """Release a slot and take one of the host to which a URL redirects; the same one stays."""
    other = hosts.host(url.host or "")
    if other is held:
        await hosts.pace(held)
        return held
    hosts.note_answer(held)
    hosts.release(held)
    if other.given_up:
        raise FetchError(FailureReason.HOST_GIVEN_UP, f"redirects to {other.name}")
    return await hosts.enter(other)


def _note(
    hosts: HostQueue[Any], host: Host[Any], error: FetchError, settings: FetchSettings
) -> None:
    """Count a failure of a host; any other answer shows that it works."""
    if error.reason.retry is Retry.NOW or error.reason is FailureReason.TLS:
        pause = error.pause_seconds
        obeyed = pause is not None and pause <= settings.longest_pause_seconds
        hosts.note_failure(host, pause if obeyed else None)
    elif error.http_status is not None:
        hosts.note_answer(host)


async def _timed_request(
    client: Client, url: URL, target: Path, seconds: float
) -> Received | aiohttp.ClientResponse:
    """Return the image, or the response that redirects. Raise FetchError for all else."""
    try:
        async with asyncio.timeout(seconds):
            return await _request(client, url, target)
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        reason = str(error) or f"is not complete after {client.settings.total_seconds:g} s"
        raise FetchError(FailureReason.TIMEOUT, reason) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failure_of(error) from None


async def _request(client: Client, url: URL, target: Path) -> Received | aiohttp.ClientResponse:
    async with client.session.get(url, allow_redirects=False) as response:
        status = response.status
        refusal = find_refusal(response.headers.getall("X-Robots-Tag", []))
        if client.settings.obey_robots_tag and refusal:
            detail = f"X-Robots-Tag: {refusal}"
            raise FetchError(FailureReason.NOAI, detail, status)
        if status in _REDIRECTS:
            return response
        if status != 200:
            raise _status_failure(response)
        try:
            body = await receive_body(response, target, client.settings.max_image_bytes)
        except FetchError as error:
            error.http_status = status
            raise
        return Received(body, status, redact(str(url)))


def _status_failure(response: aiohttp.ClientResponse) -> FetchError:
    status = response.status
    default = FailureReason.SERVER_ERROR if status >= 500 else FailureReason.HTTP_ERROR
    pause = parse_retry_after(response.headers.get("Retry-After", ""))
    return FetchError(_REASONS.get(status, default), f"HTTP {status}", status, pause)


def _redirect_target(
    url: URL, response: aiohttp.ClientResponse, private_hosts: frozenset[str]
) -> URL:
    """Return the checked address of a redirect."""
    location = response.headers.get("Location", "").strip()
    if not location:
        detail = f"HTTP {response.status} without an address"
        raise FetchError(FailureReason.REDIRECTS, detail, response.status)
    if location.startswith("//"):
        location = f"{url.scheme}:{location}"
    try:
        if not _ABSOLUTE.match(location):
            location = str(url.join(URL(location, encoded=location.isascii())))
        return check_url(location, private_hosts)
    except FetchError as error:
        detail = f"redirects to {location[:200]!r}: {error.detail}"
        raise FetchError(error.reason, detail, response.status) from None
    except ValueError:
        detail = f"redirects to {location[:200]!r}, which is no address"
        raise FetchError(FailureReason.REDIRECTS, detail, response.status) from None


def _failure_of(error: Exception) -> FetchError:
    """Return the failure for an exception of the connection."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, RefusedAddressError) or NOT_PUBLIC in str(cause):
        return FetchError(FailureReason.REFUSED_ADDRESS, str(cause))
    if isinstance(error, aiohttp.InvalidURL):
        return FetchError(FailureReason.BAD_URL, "is not a valid URL")
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return FetchError(FailureReason.TLS, str(error))
    if isinstance(cause, socket.gaierror | UnicodeError):
        return FetchError(FailureReason.DNS, f"has no address ({cause})")
    if isinstance(error, aiohttp.ClientPayloadError):
        return FetchError(FailureReason.INCOMPLETE, str(error))
    return FetchError(FailureReason.CONNECTION, str(cause) or type(cause).__name__)


def _now() -> float:
    return asyncio.get_running_loop().time()
