"""Errors as OpenAI's protocol writes them, whoever finds them."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imp_data.mobile.chat.field_rules import RequestRefused


def refusal_response(refused: RequestRefused) -> JSONResponse:
    """The refusal as a response."""
    return JSONResponse(refused.body(), refused.status)


def error_response(status: int, field: str, problem: str) -> JSONResponse:
    """An error that names what is wrong with which part of the request."""
    return refusal_response(RequestRefused(status, field, problem))


async def on_http_error(request: Request, raised: Exception) -> Response:
    """No such page, or not by this method."""
    assert isinstance(raised, HTTPException)
    part = "method" if raised.status_code == HTTPStatus.METHOD_NOT_ALLOWED else "path"
    answer = error_response(raised.status_code, part, HTTPStatus(raised.status_code).phrase.lower())
    answer.headers.update(raised.headers or {})
    return answer


async def on_internal_error(request: Request, raised: Exception) -> Response:
    """A mistake of this server's; the terminal has the traceback, the reply tells nothing of it."""
    return error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "server", "failed; its terminal says why"
    )
