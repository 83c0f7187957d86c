"""Convert a request's messages for llama.cpp: square images, placed before their text."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from imp_data.mobile.chat.field_rules import RequestRefused, check_fields, short_json
from imp_data.mobile.chat.images import ImageBudget, RequestImage, SquareImage
from imp_data.mobile.chat.request_fields import IMAGE_URL_FIELDS, MESSAGE_FIELDS

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# Type of a content part to its required field, and the fields without effect beside it.
_PART_FIELDS = {"text": "text", "refusal": "refusal", "image_url": "image_url"}
_HARMLESS_IN_PART = {"type", "prompt_cache_breakpoint"}
# Far more than a context of 2,048 tokens holds; llama.cpp rejects this much within a second.
MAX_MESSAGES, MAX_TEXT_CHARACTERS = 1000, 256 << 10


class Turn(NamedTuple):
    """A checked message; its images precede its text."""

    role: str
    images: list[RequestImage]
    text: str

    def as_message(self, square: SquareImage) -> dict[str, Any]:
        """Return the message for llama.cpp, with the newline after an image that Imp learned.

        llama.cpp itself joins image and text without one.
        """
        if not self.images:
            return {"role": self.role, "content": self.text}
        urls = [image.square_data_url(square) for image in self.images]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {
            "role": self.role,
            "content": [*parts, {"type": "text", "text": f"\n{self.text}"}],
        }


def convert_messages(given: object, square: SquareImage) -> list[dict[str, Any]]:
    """Return the messages for llama.cpp.

    Leading system messages are merged, since the chat template reads only the first message.
    Raise RequestRefused with the message and its problem.
    """
    if not isinstance(given, list) or not given:
        raise RequestRefused(400, "messages", "must be a list of at least one message")
    if len(given) > MAX_MESSAGES:
        raise RequestRefused(413, "messages", f"are more than {MAX_MESSAGES:,}")
    budget = ImageBudget()
    turns = [_turn(message, f"messages[{n}]", budget) for n, message in enumerate(given)]
    if sum(len(turn.text) for turn in turns) > MAX_TEXT_CHARACTERS:
        problem = f"have more than {MAX_TEXT_CHARACTERS:,} characters of text"
        raise RequestRefused(413, "messages", problem)
    if turns[-1].role != "user":
        raise RequestRefused(400, "messages", "must end with the user's message")
    leading = next(n for n, turn in enumerate(turns) if turn.role != "system")
    for number, turn in enumerate(turns[leading:], leading):
        if turn.role == "system":
            problem = "a system message must precede all others; the model ignores a later one"
            raise RequestRefused(400, f"messages[{number}]", problem)
    if leading > 1:
        turns[:leading] = [Turn("system", [], "\n".join(turn.text for turn in turns[:leading]))]
    return [turn.as_message(square) for turn in turns]


def _turn(message: object, place: str, budget: ImageBudget) -> Turn:
    allowed = ", ".join(_ROLES)
    if not isinstance(message, Mapping):
        raise RequestRefused(
            400, place, f"is {short_json(message)}, but must be an object with a role"
        )
    given = message.get("role")
    if not isinstance(given, str) or given not in _ROLES:
        raise RequestRefused(
            400, place, f"must have a role of {allowed}, but has {short_json(given)}"
        )
    role = _ROLES[given]
    others = {name: value for name, value in message.items() if name not in {"role", "content"}}
    check_fields(others, MESSAGE_FIELDS, f"{place}.")
    content = message.get("content")
    if content is None and role == "assistant":
        content = message.get("refusal") or ""
    if isinstance(content, str):
        return Turn(role, [], content)
    if not isinstance(content, list):
        problem = f"is {short_json(content)}, but must be text, or a list of parts"
        raise RequestRefused(400, f"{place}.content", problem)
    return _turn_of_parts(role, content, f"{place}.content", budget)


def _turn_of_parts(role: str, parts: Sequence[object], place: str, budget: ImageBudget) -> Turn:
    images, texts = [], []
    for number, part in enumerate(parts):
        where = f"{place}[{number}]"
        kind, value = _part(part, where)
        if kind != "image_url":
            if not isinstance(value, str):
                raise RequestRefused(
                    400, where, f"its {kind} is {short_json(value)}, but must be a string"
                )
            texts.append(value)
        elif role == "user":
            images.append(budget.admit(_url(value, where), where))
        else:
            raise RequestRefused(400, where, "only the user's messages may contain images")
    return Turn(role, images, "\n".join(texts))


def _part(part: object, place: str) -> tuple[str, Any]:
    """Return the type of a content part and its value."""
    kind = part.get("type") if isinstance(part, Mapping) else part
    if not isinstance(part, Mapping) or not isinstance(kind, str) or kind not in _PART_FIELDS:
        raise RequestRefused(
            400, place, f"must be a text part or an image_url part, but is {short_json(kind)}"
        )
    name = _PART_FIELDS[kind]
    for other, value in part.items():
        if other not in {name, *_HARMLESS_IN_PART} and value is not None:
            raise RequestRefused(400, f"{place}.{other}", "is not a supported field")
    return kind, part.get(name)


def _url(value: object, place: str) -> str:
    """Return the URL of an image; many clients send it without the enclosing object."""
    if isinstance(value, Mapping):
        check_fields(value, IMAGE_URL_FIELDS, f"{place}.image_url.")
        value = value.get("url")
    if not isinstance(value, str):
        problem = f"its image_url is {short_json(value)}, but must be an object with a url"
        raise RequestRefused(400, place, problem)
    return value
