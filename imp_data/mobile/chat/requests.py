"""Check a chat request and convert it for llama.cpp."""

import json
from collections.abc import Mapping
from typing import Any

from imp_data.mobile.chat.field_rules import RequestRefused, check_fields
from imp_data.mobile.chat.images import SquareImage
from imp_data.mobile.chat.messages import convert_messages
from imp_data.mobile.chat.request_body import parse_json
from imp_data.mobile.chat.request_fields import REQUEST_FIELDS


def convert_body(body: bytes, square: SquareImage) -> bytes:
    """Convert a request's body to llama.cpp's. Raise RequestRefused if it is invalid."""
    try:
        return json.dumps(convert_request(parse_json(body), square)).encode()
    except RecursionError:
        raise RequestRefused(400, "body", "is nested too deeply") from None


def convert_request(request: object, square: SquareImage) -> dict[str, Any]:
    """Return the request with square images, moved before the text of their message.

    Raises:
        RequestRefused: a field is unknown or requests something unsupported; an image is invalid
            or given by an address, which would make the server fetch it.
    """
    if not isinstance(request, Mapping):
        raise RequestRefused(400, "body", "is not a JSON object")
    fields = {name: value for name, value in request.items() if name != "messages"}
    forwarded = check_fields(fields, REQUEST_FIELDS)
    return {**forwarded, "messages": convert_messages(request.get("messages"), square)}
