"""llama.cpp's server, as the chat asks it: what is passed on, and how its errors are told."""

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
# A 4-bit model on two old cores needs half a minute to see an image.
_TIMEOUT = httpx.Timeout(10, read=600)


@asynccontextmanager
async def open_model_client(socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of llama.cpp's server at this socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(
        base_url=BASE_URL, transport=transport, timeout=_TIMEOUT
    ) as client:
        yield client


async def forward_request(client: httpx.AsyncClient, asked: bytes, request: Request) -> Response:
    """The answer as it comes; who stops listening stops the model too."""
    sent = client.build_request(
        "POST", "/v1/chat/completions", content=asked, headers={"Content-Type": "application/json"}
    )
    answer = await _unless_gone(request, lambda: client.send(sent, stream=True))
    if isinstance(answer, httpx.HTTPError):
        return error_response(502, "model", f"does not answer ({type(answer).__name__})")
    if answer is None:
        return Response(status_code=400)  # nobody is there to read it
    if answer.is_error:
        return await _as_openai_says(answer)
    return StreamingResponse(
        _chunks(answer),
        answer.status_code,
        media_type=answer.headers.get("content-type", "application/json"),
        headers={"X-Accel-Buffering": "no"},
    )


async def _unless_gone(
    request: Request, call: Callable[[], Awaitable[httpx.Response]]
) -> httpx.Response | httpx.HTTPError | None:
    """What the call gives or raises; None, and the call is ended, where who asks has gone."""
    found: httpx.Response | httpx.HTTPError | None = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            found = await call()
        except httpx.HTTPError as failure:
            found = failure
        group.cancel_scope.cancel()
    return found


async def _as_openai_says(answer: httpx.Response) -> Response:
    """llama.cpp's refusal in OpenAI's form, which clients tell apart by `code`."""
    try:
        told = json.loads(await answer.aread())["error"]
        message, kind = str(told["message"]), told.get("type")
    except (ValueError, KeyError, TypeError, AttributeError, httpx.HTTPError):
        message, kind = f"the model answered with status {answer.status_code}", None
    finally:
        await answer.aclose()
    found = {
        "message": message,
        "type": "invalid_request_error" if answer.status_code < 500 else "server_error",
        "param": "messages" if kind == _TOO_LONG else None,
        "code": "context_length_exceeded" if kind == _TOO_LONG else None,
    }
    return JSONResponse({"error": found}, answer.status_code)


async def _chunks(answer: httpx.Response) -> AsyncIterator[bytes]:
    """What the model says; an end in the middle is told as an event of its own."""
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx.HTTPError as failure:
        refused = RequestRefused(502, "model", f"stopped in mid-answer ({type(failure).__name__})")
        yield f"\n\ndata: {json.dumps(refused.body())}\n\n".encode()
    finally:
        with anyio.CancelScope(shield=True):
            await answer.aclose()
