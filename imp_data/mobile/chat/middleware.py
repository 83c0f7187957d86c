"""ASGI middleware: access control, a limit on concurrent requests, and security headers."""

import re
import secrets
from collections.abc import Mapping

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imp_data.mobile.chat.errors import error_response

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Requests with a body that are read, converted and answered at the same time; others wait, unread.
# The model answers one request after another anyway.
MAX_CONCURRENT_REQUESTS = 8
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


class SecurityHeaders:
    """Add SECURITY_HEADERS to every response, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class AccessControl:
    """Pass on requests of the page itself and of programs that know the token.

    Without a token, accept only loopback host names, and no request that a browser sends on behalf
    of another site. This also prevents DNS rebinding.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._token is None and not _LOOPBACK_HOST.fullmatch(host):
            return error_response(403, "host", "is not a loopback name of this machine")
        origins = {f"http://{host}".lower(), f"https://{host}".lower()}
        if not {origin.lower() for origin in headers.getlist("origin")} <= origins:
            return error_response(403, "origin", "requests from another site are not allowed")
        if self._token is None or not scope["path"].startswith("/v1/"):
            return None
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if secrets.compare_digest(given.encode(), self._token.encode()):
            return None
        return error_response(401, "authorization", "requires the token printed at start-up")


class ConcurrencyLimit:
    """Process at most MAX_CONCURRENT_REQUESTS requests with a body at the same time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._slots = app, anyio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        async with self._slots:
            await self._app(scope, receive, send)
