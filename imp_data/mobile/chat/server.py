"""The page and the protocol on one port, before llama.cpp's own server."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from imp_data.mobile.bundle import Asking
from imp_data.mobile.chat.images import Square, data_url, squared_file
from imp_data.mobile.chat.requests import REQUEST_BYTES, prepared
from imp_data.mobile.chat.rules import Refused

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TOO_LONG = "exceed_context_size_error"
# A 4-bit model on two old cores needs half a minute to see a picture.
_TIMEOUT = httpx.Timeout(10, read=600)


class About(NamedTuple):
    """What the page says of the model, and how images are squared: the side in pixels, and
    whether they are squeezed (`square`) or first padded (`pad`)."""

    name: str
    image_size: int
    preprocessing: str
    license: str
    mixture: str
    asking: Asking = Asking()


class Gate:
    """Lets through who may ask: the page itself, and programs that know the token.

    Without a token only loopback's names are answered to, and no request that a browser sends
    on behalf of another site: a name that points here (DNS rebinding) is of no use.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if self._token is None and urlsplit(f"//{host}").hostname not in LOOPBACK:
            return _error(403, "host", "is not a name of this machine's loopback")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return _error(403, "origin", "another site may not ask")
        if self._token is None or not request.url.path.startswith("/v1/"):
            return None
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if secrets.compare_digest(given.encode(), self._token.encode()):
            return None
        return _error(401, "authorization", "needs the token that was printed at the start")


def chat_app(upstream: str, about: About, square: Square, token: str | None = None) -> Starlette:
    """The application over llama.cpp's server at `upstream`, a base address on loopback.

    `square` makes a picture what the model's own preprocessing makes of it.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=upstream, timeout=_TIMEOUT) as client:
            app.state.client = client
            yield

    async def tell(request: Request) -> Response:
        return JSONResponse({**about._asdict(), "asking": about.asking.model_dump()})

    async def models(request: Request) -> Response:
        owned = {"id": about.name, "object": "model", "created": 0, "owned_by": "imp-data"}
        return JSONResponse({"object": "list", "data": [owned]})

    async def look(request: Request) -> Response:
        try:
            raw = await _body(request)
            image, aspect = await anyio.to_thread.run_sync(squared_file, raw, square)
        except Refused as refused:
            return JSONResponse(refused.body(), refused.status)
        padded = about.preprocessing == "pad"
        return JSONResponse({"picture": data_url(image), "aspect": 1.0 if padded else aspect})

    async def complete(request: Request) -> Response:
        try:
            body = await _json(request)
            asked = await anyio.to_thread.run_sync(prepared, body, square)
        except Refused as refused:
            return JSONResponse(refused.body(), refused.status)
        return await _passed_on(request.app.state.client, asked)

    routes = [
        Route("/v1/about", tell),
        Route("/v1/models", models),
        Route("/v1/image", look, methods=["POST"]),
        Route("/v1/chat/completions", complete, methods=["POST"]),
        *_page(),
    ]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Gate, token=token)])


def _page() -> list[Route]:
    """A route a file of the page, read once: no path that a request names is ever opened."""
    routes = []
    for file in files("imp_data.mobile.chat").joinpath("page").iterdir():
        path = "/" if file.name == "index.html" else f"/{file.name}"
        media_type = _TYPES[f".{file.name.rpartition('.')[2]}"]
        routes.append(Route(path, _file(file.read_bytes(), media_type)))
    return routes


def _file(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return answer


async def _json(request: Request) -> Any:
    try:
        return json.loads(await _body(request))
    except ValueError as error:
        raise Refused(400, "body", f"is not JSON ({error})") from None


async def _body(request: Request) -> bytes:
    """The body, read no further than it may be long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > REQUEST_BYTES:
            raise Refused(413, "body", f"is over {REQUEST_BYTES >> 20} MiB")
    return bytes(body)


async def _passed_on(client: httpx.AsyncClient, asked: dict[str, Any]) -> Response:
    """The answer as it comes; who stops listening stops the model too."""
    request = client.build_request("POST", "/v1/chat/completions", json=asked)
    try:
        answer = await client.send(request, stream=True)
    except httpx.HTTPError as error:
        return _error(502, "model", f"does not answer ({error or type(error).__name__})")
    if answer.is_error:
        return await _as_openai_says(answer)
    return StreamingResponse(
        _chunks(answer),
        answer.status_code,
        media_type=answer.headers.get("content-type", "application/json"),
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _as_openai_says(answer: httpx.Response) -> Response:
    """llama.cpp's refusal in OpenAI's form, which clients tell apart by `code`."""
    try:
        told = json.loads(await answer.aread())["error"]
        message, kind = str(told["message"]), told.get("type")
    except (ValueError, KeyError, TypeError, AttributeError, httpx.HTTPError):
        message, kind = f"the model answered with status {answer.status_code}", None
    finally:
        await answer.aclose()
    error = {
        "message": message,
        "type": "invalid_request_error" if answer.status_code < 500 else "server_error",
        "param": "messages" if kind == _TOO_LONG else None,
        "code": "context_length_exceeded" if kind == _TOO_LONG else None,
    }
    return JSONResponse({"error": error}, answer.status_code)


async def _chunks(answer: httpx.Response) -> AsyncIterator[bytes]:
    """What the model says; an end in the middle is told as an event of its own."""
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx.HTTPError as error:
        refused = Refused(502, "model", f"stopped in mid-answer ({error or type(error).__name__})")
        yield f"\n\ndata: {json.dumps(refused.body())}\n\n".encode()
    finally:
        with anyio.CancelScope(shield=True):
            await answer.aclose()


def _error(status: int, field: str, problem: str) -> JSONResponse:
    return JSONResponse(Refused(status, field, problem).body(), status)
