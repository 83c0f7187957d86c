"""Limit the number of connections and the time that each may block the server."""

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
# Seconds from the start of a connection, or the end of its last response, to the end of a request's
# head; also the time to read the rest of a refused body.
HEAD_TIMEOUT_S = 10
# Seconds during which a client reads nothing of a pending response.
STALLED_SEND_TIMEOUT_S = 30
# Seconds for which data sent before a refusal is read and discarded: closing a connection with
# unread data would discard the refusal too.
_LINGER_S = 2
_TICK_S = 1


def bounded_server(app: ASGIApp, **options: Any) -> uvicorn.Server:
    """Return a uvicorn server of the application with these limits; `options` are uvicorn's."""
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
    """uvicorn's HTTP protocol with these limits and with errors in the application's format."""

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    # Bytes of a response waiting to be sent, and the time since which they have not decreased.
    _unread, _since = 0, 0.0
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse the connection if there are too many; otherwise start the head timeout."""
        super().connection_made(transport)
        self._watch_stalled_send()
        self._start_head_timer()
        if len(self.connections) > 2 * MAX_CONNECTIONS:
            transport.abort()
        elif len(self.connections) > MAX_CONNECTIONS:
            problem = f"exceed {MAX_CONNECTIONS}; try again later"
            self._refuse(RequestRefused(503, "connections", problem))

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        for timer in (self._head_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the head timeout after a complete head; the application limits the body."""
        if not self._refused:
            super().data_received(data)
            self._stop_head_timer_if_answering()

    def eof_received(self) -> None:
        """Refuse a request that ends early if the client still reads."""
        in_head = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
        if in_head or self.conn.their_state is h11.SEND_BODY:
            self._refuse(RequestRefused(HTTPStatus.BAD_REQUEST, "request", "ended early"))

    def on_response_complete(self) -> None:
        """Start the timeout of the next head, unless it arrived already."""
        self._start_head_timer()
        super().on_response_complete()
        self._stop_head_timer_if_answering()

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP, also within a request."""
        self._refuse(RequestRefused(HTTPStatus.BAD_REQUEST, "request", "is not HTTP"))

    def shutdown(self) -> None:
        """Close a refused connection too, which is outside h11's states."""
        self.transport.close() if self._refused else super().shutdown()

    def _stop_head_timer_if_answering(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._head_timer is not None:
            self._head_timer.cancel()

    def _start_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_head_timeout)

    def _on_head_timeout(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:  # already answered
            self.transport.close()
            return
        problem = f"its head did not arrive within {HEAD_TIMEOUT_S} s"
        self._refuse(RequestRefused(HTTPStatus.REQUEST_TIMEOUT, "request", problem))

    def _refuse(self, refused: RequestRefused) -> None:
        """Send the refusal, unless a response has started, and close; read no further requests."""
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
        self.transport.write(_response_bytes(refused))
        self.transport.write_eof()
        self.flow.resume_reading()
        self._head_timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _watch_stalled_send(self) -> None:
        """Abort, once per tick, a connection whose client reads nothing, even after a close."""
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        if not unread or unread < self._unread:
            self._since = now
        self._unread = unread
        if unread and now - self._since > STALLED_SEND_TIMEOUT_S:
            self.transport.abort()
        else:
            self._unread_timer = self.loop.call_later(_TICK_S, self._watch_stalled_send)


def _response_bytes(refused: RequestRefused) -> bytes:
    """Return the complete response, built without h11, whose state may be anything here."""
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
