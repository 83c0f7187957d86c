"""Read a request's body within limits of size and time, and parse it as strict JSON."""

import json
from typing import Any

import anyio
import orjson
from starlette.requests import ClientDisconnect, Request

from imp_data.mobile.chat.field_rules import RequestRefused

MAX_BODY_BYTES = 24 << 20
# Seconds for a body, plus one more per this many received bytes.
BODY_TIMEOUT_S, MIN_BODY_BYTES_PER_S = 20, 32 << 10
# A conversation that fits the model's context has some hundreds; each value takes memory.
MAX_JSON_VALUES = 100_000


async def read_body(request: Request) -> bytes:
    """Return the body.

    Raises:
        RequestRefused: the body is too long, arrives too slowly, or ends early.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > MAX_BODY_BYTES:
        raise _too_long()
    body, start = bytearray(), anyio.current_time()
    try:
        with anyio.fail_after(BODY_TIMEOUT_S) as limit:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_long()
                limit.deadline = start + BODY_TIMEOUT_S + len(body) / MIN_BODY_BYTES_PER_S
    except TimeoutError:
        limits = f"{BODY_TIMEOUT_S} s plus 1 s per {MIN_BODY_BYTES_PER_S >> 10} KiB"
        raise RequestRefused(408, "body", f"arrives too slowly; the limit is {limits}") from None
    except ClientDisconnect:
        raise RequestRefused(400, "body", "ended early") from None
    return bytes(body)


def parse_json(body: bytes) -> Any:
    """Parse the JSON in these bytes.

    Raises:
        RequestRefused: the bytes are not JSON in UTF-8, contain a lone surrogate, a number that is
            not finite (NaN, 1e999), a duplicate name in an object, or too many values.
        RecursionError: the JSON is nested too deeply.
    """
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise RequestRefused(413, "body", f"has over {MAX_JSON_VALUES:,} commas and brackets")
    try:
        # orjson is strict where json is not; json in turn detects duplicate names.
        orjson.loads(body)
        return json.loads(body, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise RequestRefused(400, "body", f"is not JSON ({error})") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise RequestRefused(400, duplicate, "occurs twice in one object")
    return fields


def _too_long() -> RequestRefused:
    return RequestRefused(413, "body", f"is over {MAX_BODY_BYTES >> 20} MiB")
