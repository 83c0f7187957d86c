"""A test double of llama.cpp's server that records its requests and answers slowly."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from imp_data.mobile.chat.connection_limits import bounded_server
from imp_data.mobile.runtime.sockets import private_socket

ANSWER = "A red circle above a sign."


class StandIn:
    """Answer every question with ANSWER, or its first `words`, pausing `pause_s` between words."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.said = 0
        self.pause_s = 0.0
        self.words: int | None = None
        self.refusal: tuple[int, str] | None = None
        route = Route("/v1/chat/completions", self._answer, methods=["POST"])
        self.app = Starlette(routes=[route])

    async def _answer(self, request: Request) -> Response:
        asked = await request.json()
        self.asked.append(asked)
        if self.refusal:
            return Response(self.refusal[1], self.refusal[0], media_type="application/json")
        if not asked.get("stream"):
            said = {"role": "assistant", "content": ANSWER}
            return JSONResponse({"choices": [{"index": 0, "message": said}]})
        return StreamingResponse(self._words(), media_type="text/event-stream")

    async def _words(self) -> AsyncIterator[str]:
        for word in ANSWER.split()[: self.words]:
            self.said += 1
            yield _event({"choices": [{"delta": {"content": f" {word}"}}]})
            await asyncio.sleep(self.pause_s)
        yield _event({"choices": [{"delta": {}}], "timings": {"predicted_per_second": 12.8}})
        yield "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve the chat with its limits on loopback; yield its base URL."""
    server = bounded_server(app, port=0)
    with _running(server):
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


@contextmanager
def behind(app: ASGIApp) -> Iterator[Path]:
    """Serve an application on a Unix socket, as llama.cpp's server; yield the socket's path."""
    with private_socket() as socket:
        config = uvicorn.Config(
            app, uds=str(socket), log_level="error", timeout_graceful_shutdown=1
        )
        with _running(uvicorn.Server(config)):
            yield socket


@contextmanager
def _running(server: uvicorn.Server) -> Iterator[None]:
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
