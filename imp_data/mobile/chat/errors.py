"""Error responses in the format of OpenAI's protocol."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imp_data.mobile.chat.field_rules import RequestRefused


def refusal_response(refused: RequestRefused) -> JSONResponse:
    """Return the refusal as a response."""
    return JSONResponse(refused.body(), refused.status)


def error_response(status: int, field: str, problem: str) -> JSONResponse:
    """Return an error response that names the part of the request and its problem."""
    return refusal_response(RequestRefused(status, field, problem))


async def on_http_error(request: Request, raised: Exception) -> Response:
    """Answer a request for an unknown path or with a wrong method."""
    assert isinstance(raised, HTTPException)
    part = "method" if raised.status_code == HTTPStatus.METHOD_NOT_ALLOWED else "path"
    answer = error_response(raised.status_code, part, HTTPStatus(raised.status_code).phrase.lower())
    answer.headers.update(raised.headers or {})
    return answer


async def on_internal_error(request: Request, raised: Exception) -> Response:
    """Answer an internal error; the traceback goes to the terminal, not into the response."""
    problem = "failed; see the traceback in its terminal"
    return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "server", problem)
