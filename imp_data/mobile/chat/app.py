"""The page and the protocol on one port, before llama.cpp's own server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from imp_data.mobile.chat.errors import on_http_error, on_internal_error, refusal_response
from imp_data.mobile.chat.field_rules import RequestRefused
from imp_data.mobile.chat.forwarding import forward_request, open_model_client
from imp_data.mobile.chat.images import SquareImage, png_data_url, square_upload
from imp_data.mobile.chat.middleware import AccessControl, ConcurrencyLimit, SecurityHeaders
from imp_data.mobile.chat.request_body import read_body
from imp_data.mobile.chat.requests import convert_body
from imp_data.mobile.gguf.bundle import QuestionStyle

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


class ModelInfo(NamedTuple):
    """What the page says of the model, and how images are squared: the side in pixels, and
    whether they are squeezed (`square`) or first padded (`pad`)."""

    name: str
    image_size: int
    preprocessing: str
    license: str
    mixture: str
    asking: QuestionStyle = QuestionStyle()


def chat_app(
    upstream: Path, about: ModelInfo, square: SquareImage, token: str | None = None
) -> ASGIApp:
    """The application over llama.cpp's server at the socket `upstream`.

    `square` makes an image what the model's own preprocessing makes of it; one image is decoded
    and squared at a time, so that memory holds one.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_model_client(upstream) as app.state.model:
            app.state.one = anyio.CapacityLimiter(1)
            yield

    async def tell(request: Request) -> Response:
        return JSONResponse({**about._asdict(), "asking": about.asking.model_dump()})

    async def models(request: Request) -> Response:
        owned = {"id": about.name, "object": "model", "created": 0, "owned_by": "imp-data"}
        return JSONResponse({"object": "list", "data": [owned]})

    async def look(request: Request) -> Response:
        raw, one = await read_body(request), request.app.state.one
        image, aspect = await anyio.to_thread.run_sync(square_upload, raw, square, limiter=one)
        padded = about.preprocessing == "pad"
        return JSONResponse({"image": png_data_url(image), "aspect": 1.0 if padded else aspect})

    async def complete(request: Request) -> Response:
        raw, one = await read_body(request), request.app.state.one
        asked = await anyio.to_thread.run_sync(convert_body, raw, square, limiter=one)
        return await forward_request(request.app.state.model, asked, request)

    app = Starlette(
        routes=[
            Route("/v1/about", tell),
            Route("/v1/models", models),
            Route("/v1/image", look, methods=["POST"]),
            Route("/v1/chat/completions", complete, methods=["POST"]),
            *_page(),
        ],
        lifespan=lifespan,
        middleware=[Middleware(AccessControl, token=token), Middleware(ConcurrencyLimit)],
        exception_handlers={
            RequestRefused: _on_refused,
            HTTPException: on_http_error,
            Exception: on_internal_error,
        },
    )
    app.router.redirect_slashes = False
    return SecurityHeaders(app)


async def _on_refused(request: Request, raised: Exception) -> Response:
    assert isinstance(raised, RequestRefused)
    return refusal_response(raised)


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
        return Response(content, media_type=media_type)

    return answer
