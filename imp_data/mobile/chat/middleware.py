"""Who may ask, how many at once, and what every response says to browsers."""

import re
import secrets
from collections.abc import Mapping

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imp_data.mobile.chat.errors import error_response

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Requests with a body that are read, prepared and answered at a time; others wait, unread. The
# model answers one after another anyway.
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
    """Adds HEADERS to every response, errors among them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, labelled)


class AccessControl:
    """Lets through who may ask: the page itself, and programs that know the token.

    Without a token only loopback's names are answered to, and no request that a browser sends
    on behalf of another site: a name that points here (DNS rebinding) is of no use.
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
            return error_response(403, "host", "is not a name of this machine's loopback")
        origins = {f"http://{host}".lower(), f"https://{host}".lower()}
        if not {origin.lower() for origin in headers.getlist("origin")} <= origins:
            return error_response(403, "origin", "another site may not ask")
        if self._token is None or not scope["path"].startswith("/v1/"):
            return None
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if secrets.compare_digest(given.encode(), self._token.encode()):
            return None
        return error_response(401, "authorization", "needs the token that was printed at the start")


class ConcurrencyLimit:
    """Lets AT_ONCE requests with a body through at a time, from the first byte to the last."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._places = app, anyio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        async with self._places:
            await self._app(scope, receive, send)
