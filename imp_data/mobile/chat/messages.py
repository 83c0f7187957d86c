"""A request's messages as llama.cpp gets them: images squared, and before their text."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from imp_data.mobile.chat.fields import IMAGE_URL_FIELDS, MESSAGE_FIELDS
from imp_data.mobile.chat.images import Admission, Given, Square
from imp_data.mobile.chat.rules import Refused, checked, shown

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# What a part of each type must have, and what changes nothing beside it.
_PART_FIELDS = {"text": "text", "refusal": "refusal", "image_url": "image_url"}
_HARMLESS_IN_PART = {"type", "prompt_cache_breakpoint"}
# Far more than a context of 2,048 tokens holds, and what llama.cpp turns down within a second.
MESSAGES, TEXT_CHARACTERS = 1000, 256 << 10


class Turn(NamedTuple):
    """A message that was looked at: its images stand before its text."""

    role: str
    images: list[Given]
    text: str

    def as_message(self, square: Square) -> dict[str, Any]:
        """For llama.cpp, which joins an image and its text without the newline Imp learned."""
        if not self.images:
            return {"role": self.role, "content": self.text}
        urls = [image.squared_url(square) for image in self.images]
        given = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {
            "role": self.role,
            "content": [*given, {"type": "text", "text": f"\n{self.text}"}],
        }


def messages_of(given: object, square: Square) -> list[dict[str, Any]]:
    """The messages for llama.cpp.

    System texts at the beginning become one, since the chat template reads the first message's
    alone. Raises Refused, naming the message and what is wrong with it.
    """
    if not isinstance(given, list) or not given:
        raise Refused(400, "messages", "must be a list of at least one message")
    if len(given) > MESSAGES:
        raise Refused(413, "messages", f"are more than {MESSAGES:,}")
    admission = Admission()
    turns = [_turn(message, f"messages[{n}]", admission) for n, message in enumerate(given)]
    if sum(len(turn.text) for turn in turns) > TEXT_CHARACTERS:
        raise Refused(413, "messages", f"have over {TEXT_CHARACTERS:,} characters of text")
    if turns[-1].role != "user":
        raise Refused(400, "messages", "must end with the user's message")
    leading = next(n for n, turn in enumerate(turns) if turn.role != "system")
    for number, turn in enumerate(turns[leading:], leading):
        if turn.role == "system":
            problem = "a system message must stand before all others: the model reads no later one"
            raise Refused(400, f"messages[{number}]", problem)
    if leading > 1:
        turns[:leading] = [Turn("system", [], "\n".join(turn.text for turn in turns[:leading]))]
    return [turn.as_message(square) for turn in turns]


def _turn(message: object, place: str, admission: Admission) -> Turn:
    allowed = ", ".join(_ROLES)
    if not isinstance(message, Mapping):
        raise Refused(400, place, f"is {shown(message)}, but must be an object with a role")
    given = message.get("role")
    if not isinstance(given, str) or given not in _ROLES:
        raise Refused(400, place, f"must have a role of {allowed}, but has {shown(given)}")
    role = _ROLES[given]
    others = {name: value for name, value in message.items() if name not in {"role", "content"}}
    checked(others, MESSAGE_FIELDS, f"{place}.")
    content = message.get("content")
    if content is None and role == "assistant":
        content = message.get("refusal") or ""
    if isinstance(content, str):
        return Turn(role, [], content)
    if not isinstance(content, list):
        problem = f"is {shown(content)}, but must be text, or a list of parts"
        raise Refused(400, f"{place}.content", problem)
    return _of_parts(role, content, f"{place}.content", admission)


def _of_parts(role: str, parts: Sequence[object], place: str, admission: Admission) -> Turn:
    images, texts = [], []
    for number, part in enumerate(parts):
        where = f"{place}[{number}]"
        kind, value = _part(part, where)
        if kind != "image_url":
            if not isinstance(value, str):
                raise Refused(400, where, f"its {kind} is {shown(value)}, but must be a string")
            texts.append(value)
        elif role == "user":
            images.append(admission.given(_url(value, where), where))
        else:
            raise Refused(400, where, "an image belongs in the user's message")
    return Turn(role, images, "\n".join(texts))


def _part(part: object, place: str) -> tuple[str, Any]:
    """The type of a part, and what it holds."""
    kind = part.get("type") if isinstance(part, Mapping) else part
    if not isinstance(part, Mapping) or not isinstance(kind, str) or kind not in _PART_FIELDS:
        raise Refused(400, place, f"must be a text part or an image_url part, but is {shown(kind)}")
    name = _PART_FIELDS[kind]
    for other, value in part.items():
        if other not in {name, *_HARMLESS_IN_PART} and value is not None:
            raise Refused(400, f"{place}.{other}", "is not a field that this server takes")
    return kind, part.get(name)


def _url(value: object, place: str) -> str:
    """The address of an image; many clients send it without the object around it."""
    if isinstance(value, Mapping):
        checked(value, IMAGE_URL_FIELDS, f"{place}.image_url.")
        value = value.get("url")
    if not isinstance(value, str):
        problem = f"its image_url is {shown(value)}, but must be an object with a url"
        raise Refused(400, place, problem)
    return value
