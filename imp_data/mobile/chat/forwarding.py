"""Forward requests to llama.cpp's server, stream its answers and convert its errors."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from imp_data.mobile.chat.errors import error_response
from imp_data.mobile.chat.field_rules import RequestRefused
from imp_data.mobile.runtime.sockets import BASE_URL

_TOO_LONG = "exceed_context_size_error"
# A 4-bit model on two old cores needs half a minute to encode an image.
_TIMEOUT = httpx.Timeout(10, read=600)


@asynccontextmanager
async def open_model_client(socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of llama.cpp's server at this socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(
        base_url=BASE_URL, transport=transport, timeout=_TIMEOUT
    ) as client:
        yield client


async def forward_request(client: httpx.AsyncClient, body: bytes, request: Request) -> Response:
    """Stream the answer to this body; a client that disconnects stops the model."""
    forwarded = client.build_request(
        "POST", "/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    answer = await _call_while_connected(request, lambda: client.send(forwarded, stream=True))
    if isinstance(answer, httpx.HTTPError):
        return error_response(502, "model", f"does not answer ({type(answer).__name__})")
    if answer is None:
        return Response(status_code=400)  # the client has gone and reads no response
    if answer.is_error:
        return await _convert_error(answer)
    return StreamingResponse(
        _stream_chunks(answer),
        answer.status_code,
        media_type=answer.headers.get("content-type", "application/json"),
        headers={"X-Accel-Buffering": "no"},
    )


async def _call_while_connected(
    request: Request, call: Callable[[], Awaitable[httpx.Response]]
) -> httpx.Response | httpx.HTTPError | None:
    """Return the result or error of the call; cancel it and return None if the client has gone."""
    result: httpx.Response | httpx.HTTPError | None = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            result = await call()
        except httpx.HTTPError as failure:
            result = failure
        group.cancel_scope.cancel()
    return result


async def _convert_error(answer: httpx.Response) -> Response:
    """Convert llama.cpp's error to OpenAI's format, in which clients read `code`."""
    try:
        error = json.loads(await answer.aread())["error"]
        message, kind = str(error["message"]), error.get("type")
    except (ValueError, KeyError, TypeError, AttributeError, httpx.HTTPError):
        message, kind = f"the model answered with status {answer.status_code}", None
    finally:
        await answer.aclose()
    converted = {
        "message": message,
        "type": "invalid_request_error" if answer.status_code < 500 else "server_error",
        "param": "messages" if kind == _TOO_LONG else None,
        "code": "context_length_exceeded" if kind == _TOO_LONG else None,
    }
    return JSONResponse({"error": converted}, answer.status_code)


async def _stream_chunks(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the answer; if it breaks off, yield an event with the error."""
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx.HTTPError as failure:
        refused = RequestRefused(502, "model", f"broke off its answer ({type(failure).__name__})")
        yield f"\n\ndata: {json.dumps(refused.body())}\n\n".encode()
    finally:
        with anyio.CancelScope(shield=True):
            await answer.aclose()
