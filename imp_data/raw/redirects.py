"""Sends a request and follows its redirects, none of them to where only this machine can reach.

What an address redirects to is chosen by a server, not by whoever wrote the manifest: it must not
lead into this machine or its network, nor from https back to http. The address of the connection
itself is checked, before anything is sent, so that no answer of a name server gets around it. A
proxy resolves names by itself: through one only literal addresses can be checked.
"""

import ipaddress
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any

import httpx

from imp_data.raw.http_response import Again, Refused

# Enough for http to https, a host's canonical name and a content network; a loop ends soon.
_MOST_REDIRECTS = 10
# A server that sends its headers byte by byte is never silent.
HEADERS_SECONDS = 60.0
# Proxies in the desktop's place (Clash, sing-box) resolve every name to one of these.
_STAND_INS = ipaddress.ip_network("198.18.0.0/15")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


@contextmanager
def answered(
    client: httpx.Client, url: str, headers: dict[str, str], named: Collection[str]
) -> Iterator[httpx.Response]:
    """The answer to a GET, its body still to be read. `client` follows no redirect by itself.

    `named`: the hosts that the manifest or the user names, which may be private ones. Raises
    Refused for a redirect that is not followed, Again where headers take too long.
    """
    watch = _Watch(named)
    request = client.build_request("GET", url, headers=headers, extensions={"trace": watch.event})
    with watch.patience():
        response = _last(client, request, watch)
    try:
        yield response
    finally:
        response.close()


def _last(client: httpx.Client, request: httpx.Request, watch: "_Watch") -> httpx.Response:
    for _ in range(_MOST_REDIRECTS + 1):
        watch.going_to(request.url)
        response = _sent(client, request)
        if response.next_request is None:
            return response
        response.close()
        _check_hop(request.url, response.next_request.url, watch)
        request = response.next_request  # with the extensions of the request before
        watch.redirected = True
    raise Refused(f"redirects more than {_MOST_REDIRECTS} times")


def _sent(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    try:
        return client.send(request, stream=True)
    except httpx.RemoteProtocolError as error:
        if "location header" not in str(error):
            raise
        # What httpx says of the address may be a piece of a password.
        raise Refused("redirects to what is no address") from None


def _check_hop(old: httpx.URL, new: httpx.URL, watch: "_Watch") -> None:
    if new.scheme not in ("http", "https"):
        raise Refused(f"redirects to an address of {new.scheme or 'no'} protocol")
    if old.scheme == "https" and new.scheme == "http":
        raise Refused(f"redirects from https to http, at {new.host}")
    if new.host not in watch.named and (is_private(new.host) or _is_local(new.host)):
        raise Refused(_leads_inside(new.host, new.host))


def _leads_inside(host: str, peer: str) -> str:
    at = host if host == peer else f"{host} ({peer})"
    return (
        f"redirects to {at}, an address of this machine or its network that neither the manifest "
        "nor IMP_DATA_MIRROR names"
    )


class _Watch:
    """Follows one request's connections: to whom they go, and for how long nothing is answered."""

    def __init__(self, named: Collection[str]) -> None:
        self.named, self.redirected = named, False
        self._wanted = self._connected = ""
        self._stream: Any = None
        self._expired = False

    def going_to(self, url: httpx.URL) -> None:
        self._wanted = url.host

    def event(self, name: str, info: dict[str, Any]) -> None:
        """Called by httpcore at each step, by its extension `trace`."""
        if name == "connection.connect_tcp.started":
            self._connected = info["host"]
        elif name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = info["return_value"]
            # Another host than the one that is wanted is a proxy, which the user has set.
            if self.redirected and self._connected.strip("[]") == self._wanted:
                self._check_peer()

    def _check_peer(self) -> None:
        peer = str(self._stream.get_extra_info("server_addr")[0])
        if self._wanted not in self.named and is_private(peer):
            self._stream.close()
            raise Refused(_leads_inside(self._wanted, peer))

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Bound the time until the answer's headers are there, redirects included."""
        timer = Timer(HEADERS_SECONDS, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            if self._expired:
                raise Again(f"no answer within {HEADERS_SECONDS:.0f} s", in_vain=True) from error
            raise
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self._expired = True
        if self._stream is not None:
            with suppress(OSError):  # it is closed already
                self._stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def is_private(address: str) -> bool:
    """Whether an IP address is not one of the public network; of a name False."""
    ip = _ip(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    return ip is not None and (not ip.is_global or ip.is_multicast) and ip not in _STAND_INS


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(address)
    with suppress(OSError, UnicodeError):
        return ipaddress.IPv4Address(socket.inet_aton(address))  # 127.1, 0x7f000001, 2130706433
    return None


def _is_local(host: str) -> bool:
    return host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost")
