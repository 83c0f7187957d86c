"""The ASGI application: the chat page and the OpenAI protocol in front of llama.cpp's server."""

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
    """What /v1/about states: the model, and how images become square.

    `image_size` is the side in pixels; `preprocessing` is `square` (squeezed) or `pad`.
    """

    name: str
    image_size: int
    preprocessing: str
    license: str
    mixture: str
    asking: QuestionStyle = QuestionStyle()


def chat_app(
    upstream: Path, about: ModelInfo, square: SquareImage, token: str | None = None
) -> ASGIApp:
    """Return the application in front of llama.cpp's server at the socket `upstream`.

    `square` is the model's own preprocessing. One image is decoded at a time, to bound memory.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_model_client(upstream) as app.state.model:
            app.state.decoding = anyio.CapacityLimiter(1)
            yield

    app = Starlette(
        routes=[*_api_routes(about, square), *_page_routes()],
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


def _api_routes(about: ModelInfo, square: SquareImage) -> list[Route]:
    async def get_about(request: Request) -> Response:
        return JSONResponse({**about._asdict(), "asking": about.asking.model_dump()})

    async def list_models(request: Request) -> Response:
        model = {"id": about.name, "object": "model", "created": 0, "owned_by": "imp-data"}
        return JSONResponse({"object": "list", "data": [model]})

    async def square_image(request: Request) -> Response:
        raw, limiter = await read_body(request), request.app.state.decoding
        image, aspect = await anyio.to_thread.run_sync(square_upload, raw, square, limiter=limiter)
        padded = about.preprocessing == "pad"
        return JSONResponse({"image": png_data_url(image), "aspect": 1.0 if padded else aspect})

    async def complete_chat(request: Request) -> Response:
        raw, limiter = await read_body(request), request.app.state.decoding
        body = await anyio.to_thread.run_sync(convert_body, raw, square, limiter=limiter)
        return await forward_request(request.app.state.model, body, request)

    return [
        Route("/v1/about", get_about),
        Route("/v1/models", list_models),
        Route("/v1/image", square_image, methods=["POST"]),
        Route("/v1/chat/completions", complete_chat, methods=["POST"]),
    ]


async def _on_refused(request: Request, raised: Exception) -> Response:
    assert isinstance(raised, RequestRefused)
    return refusal_response(raised)


def _page_routes() -> list[Route]:
    """Return a route per file of the page, read once: no path from a request is ever opened."""
    routes = []
    for file in files("imp_data.mobile.chat").joinpath("page").iterdir():
        path = "/" if file.name == "index.html" else f"/{file.name}"
        media_type = _TYPES[f".{file.name.rpartition('.')[2]}"]
        routes.append(Route(path, _file_endpoint(file.read_bytes(), media_type)))
    return routes


def _file_endpoint(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer
