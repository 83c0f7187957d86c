"""Connections that end: how many there may be, and how long each may keep the server waiting."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from imp_data.mobile.chat.field_rules import RequestRefused
from imp_data.mobile.chat.middleware import SECURITY_HEADERS

MAX_CONNECTIONS = 64
# Seconds from a connection's beginning, or the end of its last answer, to the end of a request's
# head; and to read what is left of a body that was refused.
HEAD_TIMEOUT_S = 10
# Seconds in which whoever asked takes nothing of an answer that waits to be sent.
STALLED_SEND_TIMEOUT_S = 30
# What was sent before a refusal is read and thrown away for so long: a connection that is closed
# with something unread takes the refusal with it.
_LINGER_S = 2
_TICK_S = 1


def bounded_server(app: ASGIApp, **options: Any) -> uvicorn.Server:
    """A server of the application with these bounds; `options` are uvicorn's."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        proxy_headers=False,
        server_header=False,
        log_level="error",
        timeout_graceful_shutdown=2,
        **options,
    )
    return uvicorn.Server(config)


class BoundedProtocol(H11Protocol):
    """uvicorn's own, with bounds, and with errors in the form of the application's."""

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    # Bytes of an answer that wait to be sent, and since when they are not fewer.
    _unread, _since = 0, 0.0
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Turn it away where there are too many; else its first head is awaited."""
        super().connection_made(transport)
        self._watch_unread()
        self._await_head()
        if len(self.connections) > 2 * MAX_CONNECTIONS:
            transport.abort()
        elif len(self.connections) > MAX_CONNECTIONS:
            problem = f"are more than {MAX_CONNECTIONS}; try again later"
            self._refuse(RequestRefused(503, "connections", problem))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any longer."""
        for timer in (self._head_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """With a request's head at hand the rest is the application's to time."""
        if not self._refused:
            super().data_received(data)
            self._stop_awaiting_where_asked()

    def eof_received(self) -> None:
        """A request that ends in the middle is told so, if only its sending has ended."""
        amid_head = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
        if amid_head or self.conn.their_state is h11.SEND_BODY:
            self._refuse(RequestRefused(HTTPStatus.BAD_REQUEST, "request", "ended early"))

    def on_response_complete(self) -> None:
        """The next head is awaited, unless it came already."""
        self._await_head()
        super().on_response_complete()
        self._stop_awaiting_where_asked()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP; in mid-request as well."""
        self._refuse(RequestRefused(HTTPStatus.BAD_REQUEST, "request", "is not HTTP"))

    def shutdown(self) -> None:
        """Also of a connection that is in none of h11's states any longer."""
        self.transport.close() if self._refused else super().shutdown()

    def _stop_awaiting_where_asked(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._head_timer is not None:
            self._head_timer.cancel()

    def _await_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._no_head)

    def _no_head(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:  # it was answered already
            self.transport.close()
            return
        problem = f"its head did not come within {HEAD_TIMEOUT_S} s"
        self._refuse(RequestRefused(HTTPStatus.REQUEST_TIMEOUT, "request", problem))

    def _refuse(self, refused: RequestRefused) -> None:
        """Say it, unless an answer is under way, and close; what comes is read no more."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if answering and self.cycle.response_started:
            self.transport.close()
            return
        self.transport.write(_written(refused))
        self.transport.write_eof()
        self.flow.resume_reading()
        self._head_timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _watch_unread(self) -> None:
        """Every second: cut off who takes nothing of the answer, also of one that was closed."""
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        if not unread or unread < self._unread:
            self._since = now
        self._unread = unread
        if unread and now - self._since > STALLED_SEND_TIMEOUT_S:
            self.transport.abort()
        else:
            self._unread_timer = self.loop.call_later(_TICK_S, self._watch_unread)


def _written(refused: RequestRefused) -> bytes:
    """The whole response; whoever it is for may be amid anything, so it is outside h11's states."""
    body = json.dumps(refused.body()).encode()
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
