"""What a chat request may say, and what becomes of it before llama.cpp sees it."""

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from PIL import Image

from imp_data.images.decoding import NoImage, TooManyPixels, rgb_of

# A field that is not here never reaches the server behind: some of its own fields read files.
_FIELDS = """
    frequency_penalty logprobs max_completion_tokens max_tokens messages min_p model n_probs
    presence_penalty repeat_penalty response_format seed stop stream stream_options temperature
    top_k top_logprobs top_p
"""
ALLOWED_FIELDS = frozenset(_FIELDS.split())
_ROLES = {"system", "user", "assistant"}
_TYPES = {"image/jpeg", "image/png", "image/webp"}
_FORMATS = ("JPEG", "PNG", "WEBP")
REQUEST_BYTES = 24 << 20
PICTURE_BYTES = 8 << 20
# 100 megapixels: above every phone's camera, below what would fill a small server's memory.
PICTURE_PIXELS = 100_000_000

Square = Callable[[Image.Image], Image.Image]


class Refused(Exception):
    """A request that is not passed on: the HTTP status, the field, what is wrong with it."""

    def __init__(self, status: int, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.status, self.field, self.problem = status, field, problem

    def body(self) -> dict[str, Any]:
        """As OpenAI's protocol writes an error."""
        kind = "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.field, "code": None}}


class Turn(NamedTuple):
    """A message that was looked at: its pictures stand before its text."""

    role: str
    pictures: list[str]
    text: str

    def as_message(self) -> dict[str, Any]:
        """For llama.cpp, which joins a picture and its text without the newline Imp learned."""
        if not self.pictures:
            return {"role": self.role, "content": self.text}
        shown = [{"type": "image_url", "image_url": {"url": url}} for url in self.pictures]
        return {
            "role": self.role,
            "content": [*shown, {"type": "text", "text": f"\n{self.text}"}],
        }


def prepared(request: object, square: Square) -> dict[str, Any]:
    """The request with its pictures squared and moved before the text of their message.

    Raises:
        Refused: a field is unknown or wrong, a picture is no picture, or lies elsewhere: an
            address in the place of data would make the server fetch it.
    """
    if not isinstance(request, Mapping):
        raise Refused(400, "body", "is not a JSON object")
    unknown = sorted(set(request) - ALLOWED_FIELDS)
    if unknown:
        raise Refused(400, unknown[0], "is not a field that this server takes")
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages", "must be a list of at least one message")
    turns = [_turn(m, f"messages[{n}]", square) for n, m in enumerate(messages)]
    if turns[-1].role != "user":
        raise Refused(400, "messages", "must end with the user's message")
    return {**request, "messages": [turn.as_message() for turn in turns]}


def _turn(message: object, field: str, square: Square) -> Turn:
    if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
        raise Refused(400, field, f"must have a role of {', '.join(sorted(_ROLES))}")
    content = message.get("content")
    if isinstance(content, str):
        return Turn(message["role"], [], content)
    if not isinstance(content, list):
        raise Refused(400, f"{field}.content", "must be text, or a list of parts")
    pictures, texts = [], []
    for number, part in enumerate(content):
        where = f"{field}.content[{number}]"
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                pictures.append(_squared(url, where, square))
            case _:
                raise Refused(400, where, "must be a text part or an image_url part")
    return Turn(message["role"], pictures, "\n".join(texts))


def _squared(url: str, field: str, square: Square) -> str:
    """A data URL to the data URL of the squared picture, as PNG."""
    head, comma, data = url.partition(",")
    kind = head.removeprefix("data:").removesuffix(";base64")
    if not comma or head != f"data:{kind};base64" or kind not in _TYPES:
        allowed = ", ".join(sorted(_TYPES))
        raise Refused(400, field, f"must be a base64 data URL of type {allowed}; no other address")
    if len(data) > PICTURE_BYTES * 4 // 3 + 4:
        raise Refused(413, field, f"is a picture of over {PICTURE_BYTES >> 20} MiB")
    out = io.BytesIO()
    square(_decoded(data, field)).save(out, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _decoded(data: str, field: str) -> Image.Image:
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise Refused(400, field, "is not base64") from None
    try:
        return rgb_of(raw, PICTURE_PIXELS, _FORMATS)
    except TooManyPixels as error:
        raise Refused(413, field, f"has too many pixels ({error})") from None
    except NoImage as error:
        raise Refused(400, field, f"cannot be read as a picture ({error})") from None
