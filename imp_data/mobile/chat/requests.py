"""What a chat request may say, and what becomes of it before llama.cpp sees it."""

import json
from collections.abc import Mapping
from typing import Any

from imp_data.mobile.chat.field_rules import RequestRefused, check_fields
from imp_data.mobile.chat.images import SquareImage
from imp_data.mobile.chat.messages import convert_messages
from imp_data.mobile.chat.request_body import parse_json
from imp_data.mobile.chat.request_fields import REQUEST_FIELDS


def convert_body(body: bytes, square: SquareImage) -> bytes:
    """What llama.cpp is asked, of a request's body. Raises Refused."""
    try:
        return json.dumps(prepared(parse_json(body), square)).encode()
    except RecursionError:
        raise RequestRefused(400, "body", "is nested too deeply") from None


def prepared(request: object, square: SquareImage) -> dict[str, Any]:
    """The request with its images squared and moved before the text of their message.

    Raises:
        Refused: a field is unknown, or asks for what is not done here; an image is no image, or
            lies elsewhere: an address in the place of data would make the server fetch it.
    """
    if not isinstance(request, Mapping):
        raise RequestRefused(400, "body", "is not a JSON object")
    fields = {name: value for name, value in request.items() if name != "messages"}
    sent = check_fields(fields, REQUEST_FIELDS)
    return {**sent, "messages": convert_messages(request.get("messages"), square)}
