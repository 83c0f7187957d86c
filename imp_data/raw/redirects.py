"""Send a request and follow its redirects, but none into this machine or its network.

The server, not the author of the manifest, chooses the target of a redirect: it must not lead into
this machine or its network, nor from https back to http. The check applies to the address of the
connection, before anything is sent, so that no answer of a name server bypasses it. A proxy
resolves names itself; through a proxy only literal addresses can be checked.
"""

import ipaddress
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any

import httpx

from imp_data.raw.http_response import DownloadError, RetryableError

# Enough for http to https, a host's canonical name and a content network; a loop ends soon.
_MAX_REDIRECTS = 10
# A server that sends its headers byte by byte never triggers a read timeout.
HEADERS_SECONDS = 60.0
# Transparent desktop proxies (Clash, sing-box) resolve every name to one of these.
_FAKE_IPS = ipaddress.ip_network("198.18.0.0/15")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@contextmanager
def open_response(
    client: httpx.Client,
    url: str,
    headers: dict[str, str],
    allowed_hosts: Collection[str],
    method: str = "GET",
) -> Iterator[httpx.Response]:
    """Yield the response to a request, its body unread; `client` must not follow redirects itself.

    `allowed_hosts` are the hosts that the manifest or the user names; they may be private. Raise
    DownloadError for a redirect that is not followed, RetryableError if headers take too long.
    """
    monitor = _ConnectionMonitor(allowed_hosts)
    extensions = {"trace": monitor.trace}
    request = client.build_request(method, url, headers=headers, extensions=extensions)
    with monitor.limit_header_time():
        response = _follow_redirects(client, request, monitor)
    try:
        yield response
    finally:
        response.close()


def _follow_redirects(
    client: httpx.Client, request: httpx.Request, monitor: "_ConnectionMonitor"
) -> httpx.Response:
    for _ in range(_MAX_REDIRECTS + 1):
        monitor.expect_host(request.url)
        response = _send(client, request)
        if response.next_request is None:
            return response
        response.close()
        _check_redirect(request.url, response.next_request.url, monitor)
        request = response.next_request  # with the extensions of the previous request
        monitor.redirected = True
    raise DownloadError(f"redirects more than {_MAX_REDIRECTS} times")


def _send(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    try:
        return client.send(request, stream=True)
    except httpx.RemoteProtocolError as error:
        if "location header" not in str(error):
            raise
        # The message of httpx may contain a part of a password.
        raise DownloadError("redirects to what is no address") from None


def _check_redirect(old: httpx.URL, new: httpx.URL, monitor: "_ConnectionMonitor") -> None:
    if new.scheme not in ("http", "https"):
        raise DownloadError(f"redirects to an address of {new.scheme or 'no'} protocol")
    if old.scheme == "https" and new.scheme == "http":
        raise DownloadError(f"redirects from https to http, at {new.host}")
    allowed = new.host in monitor.allowed_hosts
    if not allowed and (is_private(new.host) or _is_local(new.host)):
        raise DownloadError(_private_target(new.host, new.host))


def _private_target(host: str, peer: str) -> str:
    at = host if host == peer else f"{host} ({peer})"
    return (
        f"redirects to {at}, an address of this machine or its network that neither the manifest "
        "nor IMP_DATA_MIRROR names"
    )


class _ConnectionMonitor:
    """Checks the peers of one request's connections, and limits the wait for headers."""

    def __init__(self, allowed_hosts: Collection[str]) -> None:
        self.allowed_hosts, self.redirected = allowed_hosts, False
        self._requested_host = self._connected_host = ""
        self._stream: Any = None
        self._expired = False

    def expect_host(self, url: httpx.URL) -> None:
        """Set the host of the next connection."""
        self._requested_host = url.host

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Handle an event of httpcore's extension `trace`."""
        if name == "connection.connect_tcp.started":
            self._connected_host = info["host"]
        elif name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = info["return_value"]
            # A connection to another host than the requested one is to the user's proxy.
            if self.redirected and self._connected_host.strip("[]") == self._requested_host:
                self._check_peer()

    def _check_peer(self) -> None:
        peer = str(self._stream.get_extra_info("server_addr")[0])
        if self._requested_host not in self.allowed_hosts and is_private(peer):
            self._stream.close()
            raise DownloadError(_private_target(self._requested_host, peer))

    @contextmanager
    def limit_header_time(self) -> Iterator[None]:
        """Limit the time until the headers of the last response, redirects included."""
        timer = Timer(HEADERS_SECONDS, self._abort)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            if self._expired:
                raise RetryableError(
                    f"no answer within {HEADERS_SECONDS:.0f} s", fruitless=True
                ) from error
            raise
        finally:
            timer.cancel()

    def _abort(self) -> None:
        self._expired = True
        if self._stream is not None:
            with suppress(OSError):  # already closed
                self._stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def is_private(address: str) -> bool:
    """Return whether an IP address is not public; False for a host name."""
    ip = _parse_ip(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    return ip is not None and (not ip.is_global or ip.is_multicast) and ip not in _FAKE_IPS


def _parse_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(address)
    with suppress(OSError, UnicodeError):
        return ipaddress.IPv4Address(socket.inet_aton(address))  # 127.1, 0x7f000001, 2130706433
    return None


def _is_local(host: str) -> bool:
    return host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost")
