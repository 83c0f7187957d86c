"""A request's body: how long it may be and take, and JSON that means one thing."""

import json
from typing import Any

import anyio
import orjson
from starlette.requests import ClientDisconnect, Request

from imp_data.mobile.chat.field_rules import RequestRefused

MAX_BODY_BYTES = 24 << 20
# A body may take so many seconds, and one more for each so many bytes of it that came.
BODY_TIMEOUT_S, MIN_BODY_BYTES_PER_S = 20, 32 << 10
# Of a conversation that the model's context holds there are some hundreds; each takes memory.
MAX_JSON_VALUES = 100_000


async def read_body(request: Request) -> bytes:
    """The body, read no further than it may be long, and no longer than it may take.

    Raises:
        Refused: it is too long, came too slowly, or ended early.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > MAX_BODY_BYTES:
        raise _too_long()
    body, begun = bytearray(), anyio.current_time()
    try:
        with anyio.fail_after(BODY_TIMEOUT_S) as limit:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_long()
                limit.deadline = begun + BODY_TIMEOUT_S + len(body) / MIN_BODY_BYTES_PER_S
    except TimeoutError:
        rate = f"{BODY_TIMEOUT_S} s and 1 s for each {MIN_BODY_BYTES_PER_S >> 10} KiB"
        raise RequestRefused(408, "body", f"comes too slowly: it may take {rate}") from None
    except ClientDisconnect:
        raise RequestRefused(400, "body", "ended early") from None
    return bytes(body)


def parse_json(body: bytes) -> Any:
    """The JSON in these bytes.

    Raises:
        Refused: they are no JSON in UTF-8, hold half a character (a surrogate), a number that is
            none (NaN, 1e999), a name twice in one object, or more values than a conversation has.
        RecursionError: it is nested too deeply.
    """
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise RequestRefused(413, "body", f"has over {MAX_JSON_VALUES:,} commas and brackets")
    try:
        # Strict where Python's own is not; that one in turn tells of a name that stands twice.
        orjson.loads(body)
        return json.loads(body, object_pairs_hook=_once_each)
    except ValueError as error:
        raise RequestRefused(400, "body", f"is not JSON ({error})") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestRefused(400, twice, "stands twice in one object")
    return found


def _too_long() -> RequestRefused:
    return RequestRefused(413, "body", f"is over {MAX_BODY_BYTES >> 20} MiB")
