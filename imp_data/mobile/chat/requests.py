"""What a chat request may say, and what becomes of it before llama.cpp sees it."""

import json
from collections.abc import Mapping
from typing import Any

from imp_data.mobile.chat.fields import REQUEST_FIELDS
from imp_data.mobile.chat.images import Square
from imp_data.mobile.chat.intake import parsed
from imp_data.mobile.chat.messages import messages_of
from imp_data.mobile.chat.rules import Refused, checked


def asked_of(body: bytes, square: Square) -> bytes:
    """What llama.cpp is asked, of a request's body. Raises Refused."""
    try:
        return json.dumps(prepared(parsed(body), square)).encode()
    except RecursionError:
        raise Refused(400, "body", "is nested too deeply") from None


def prepared(request: object, square: Square) -> dict[str, Any]:
    """The request with its images squared and moved before the text of their message.

    Raises:
        Refused: a field is unknown, or asks for what is not done here; an image is no image, or
            lies elsewhere: an address in the place of data would make the server fetch it.
    """
    if not isinstance(request, Mapping):
        raise Refused(400, "body", "is not a JSON object")
    fields = {name: value for name, value in request.items() if name != "messages"}
    sent = checked(fields, REQUEST_FIELDS)
    return {**sent, "messages": messages_of(request.get("messages"), square)}
