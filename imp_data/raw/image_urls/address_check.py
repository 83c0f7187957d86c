"""Refuse URLs and connections that lead into this machine or its network.

The check applies three times: to the text of a URL, to each answer of a name server, and to the
address of each socket before it connects, so that no name or redirect bypasses it. Hosts that the
user names (`private_hosts`) may be private.
"""

import asyncio
import re
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from imp_data.raw.image_urls.failure import FetchError
from imp_data.raw.image_urls.status import FailureReason
from imp_data.raw.redirects import is_private

# getaddrinfo blocks its thread, for a dead name server many seconds.
_RESOLVER_THREADS = 32
_MAX_URL_CHARACTERS = 8192
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
NOT_PUBLIC = "is an address of this machine or a private network"


class RefusedAddressError(OSError):
    """A name or a connection leads to an address that is not public."""


def check_url(text: str, private_hosts: Collection[str]) -> URL:
    """Return the URL to request. Raise FetchError if it must not be requested."""
    if len(text) > _MAX_URL_CHARACTERS or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise FetchError(FailureReason.BAD_URL, "has a control character or is too long")
    text = text.strip()
    scheme, mark, rest = text.partition(":")
    if mark and _SCHEME.fullmatch(scheme) and scheme.lower() not in ("http", "https"):
        raise FetchError(FailureReason.REFUSED_SCHEME, f"is an address of protocol {scheme[:20]}")
    authority = re.split("[/?#]", rest.removeprefix("//"), maxsplit=1)[0]
    # Parsers disagree about these, so that a check may see another host than the request.
    if "\\" in authority or "%" in authority.rpartition("@")[2]:
        raise FetchError(FailureReason.BAD_URL, "has a backslash or % in its host")
    try:
        # A URL without other characters is sent as it is, because its signature may cover it.
        url = URL(text, encoded=text.isascii() and " " not in text)
        host, port = url.host, url.port
    except (ValueError, UnicodeError):
        raise FetchError(FailureReason.BAD_URL, "is not a valid URL") from None
    if not host or not rest.startswith("//") or not port:
        raise FetchError(FailureReason.BAD_URL, "names no host")
    plain = host.rstrip(".").lower()
    is_local = plain == "localhost" or plain.endswith(".localhost")
    if (is_local or is_private(plain)) and plain not in private_hosts:
        raise FetchError(FailureReason.REFUSED_ADDRESS, f"{plain} {NOT_PUBLIC}")
    return url


class CheckedResolver(AbstractResolver):
    """Resolve names in threads and leave out addresses that are not public."""

    def __init__(self, private_hosts: Collection[str]) -> None:
        self._private_hosts = private_hosts
        self._allowed = set(private_hosts)  # with the addresses of these hosts
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, "resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host that are public, or all of a private host.

        Raise RefusedAddressError if there are others alone, OSError if there are none.
        """
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        is_named = host.rstrip(".").lower() in self._private_hosts
        usable = [info for info in found if is_named or not is_private(str(info[4][0]))]
        self._allowed |= {str(info[4][0]) for info in usable if is_named}
        if found and not usable:
            raise RefusedAddressError(f"{host} is {found[0][4][0]}, which {NOT_PUBLIC}")
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=of_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of_family, _, protocol, _, address in usable
        ]

    def create_socket(self, info: Any) -> socket.socket:
        """Create the socket for one address of a connection, for aiohttp's `socket_factory`.

        Raise RefusedAddressError if the address is not public.
        """
        family, kind, protocol, _, address = info
        if is_private(address[0]) and address[0] not in self._allowed:
            raise RefusedAddressError(f"{address[0]} {NOT_PUBLIC}")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Stop without waiting for name servers that do not answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)
