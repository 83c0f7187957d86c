"""Read the turns of a conversation in the spellings of its trainers, and place the images."""

from collections.abc import Iterator, Sequence
from typing import Any

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.records.forms.base import (
    FormSettings,
    ImageRef,
    RecordError,
    Turn,
    choose_field,
    column_names,
    read_list,
    read_text,
    unread_field,
    wrong_type,
)
from imp_data.records.forms.content import PartImage, read_content
from imp_data.records.forms.list_text import read_list_text
from imp_data.records.layouts.unread_fields import preview
from imp_data.sample import IMAGE_TOKEN, EmbeddedImage

_NAMES = {
    "system": ("system", "developer"),
    "human": ("human", "user", "prompter"),
    # ShareGPT has the names of the services; LLaMA-Factory calls a call of a tool function_call.
    "gpt": (
        *("gpt", "assistant", "chatgpt", "bing", "bard", "claude", "gemini", "model", "bot"),
        *("chatbot", "ai", "function_call", "tool_call"),
    ),
    "tool": ("tool", "function", "observation", "tool_response", "function_response", "ipython"),
}
SPEAKERS = {name: speaker for speaker, names in _NAMES.items() for name in names}

_ROLE_FIELDS = ("from", "role")
_TEXT_FIELDS = ("value", "content")
_PAIR_FIELDS = (("human", "user"), ("assistant", "gpt"))
# The fields of a turn that are read, and an id, which says nothing.
TURN_FIELDS = frozenset(
    (*_ROLE_FIELDS, *_TEXT_FIELDS, *_PAIR_FIELDS[0], *_PAIR_FIELDS[1], "id", "tool_call_id")
)


def read_dialogue(turns: Any, field: str) -> tuple[list[Turn], list[PartImage]]:
    """Return the turns of a list, and the images of their parts.

    A turn is {from, value}, {role, content}, or {human, assistant} for a question and its answer.
    Raises RecordError, which names the turn and its field.
    """
    spoken = list[Turn]()
    images = list[PartImage]()
    for number, turn in enumerate(read_list(turns, field)):
        where = f"{field}.{number}"
        if not isinstance(turn, dict):
            raise wrong_type(where, "should be an object", turn)
        for speaker, name, value in _read_turn(turn, where):
            content = read_content(value, f"{where}.{name}", speaker)
            spoken.append((speaker, content.text))
            images += content.images
    return spoken, images


def _read_turn(turn: dict[str, Any], where: str) -> Iterator[tuple[str, str, Any]]:
    """Yield speaker, name and value of each text of a turn."""
    role = choose_field(turn, _ROLE_FIELDS, f"{where}.")
    if role is None and (asked := choose_field(turn, _PAIR_FIELDS[0], f"{where}.")):
        answered = choose_field(turn, _PAIR_FIELDS[1], f"{where}.") or _PAIR_FIELDS[1][0]
        yield "human", asked, turn[asked]
        yield "gpt", answered, turn.get(answered)
        return
    name = choose_field(turn, _TEXT_FIELDS, f"{where}.")
    if name is None:
        # An answer that only calls tools has no content; the calls are what it teaches.
        if turn.get("tool_calls"):
            raise unread_field(f"{where}.tool_calls", turn["tool_calls"])
        name = next((one for one in _TEXT_FIELDS if one in turn), _TEXT_FIELDS[0])
    yield _speaker(turn, role, where), name, turn.get(name)


def _speaker(turn: dict[str, Any], role: str | None, where: str) -> str:
    if role is None:
        raise wrong_type(f"{where}.{_ROLE_FIELDS[0]}", "names no speaker", turn)
    spelled = read_text(turn[role], f"{where}.{role}")
    speaker = SPEAKERS.get(spelled.strip().lower())
    if speaker is None:
        evidence = {"field": f"{where}.{role}", "problem": "is no known speaker"}
        raise RecordError(Verdict(Reason.WRONG_ROLES, {**evidence, "found": preview(spelled)}))
    return speaker


def is_dialogue(value: Any) -> bool:
    """Return whether a value is a list of turns, also as text, by its first turn."""
    value = read_list_text(value)
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    names = set(value[0])
    is_turn = bool(names & {*_ROLE_FIELDS} and names & {*_TEXT_FIELDS})
    return is_turn or all(names.intersection(pair) for pair in _PAIR_FIELDS)


def read_system(record: dict[str, Any], settings: FormSettings, turns: list[Turn]) -> list[Turn]:
    """Return the turns with the system prompt of the record's own column first."""
    name = choose_field(record, column_names(settings, "system"))
    text = read_text(record[name], name) if name else ""
    turn = ("system", text)
    return turns if not text.strip() or turn in turns[:1] else [turn, *turns]


def match_images(column: list[ImageRef], parts: Sequence[PartImage], field: str) -> list[ImageRef]:
    """Return the images of a record whose column and whose parts may both name some.

    Parts without an image take those of the column, by index or in order. If both name as many
    images, they are the same ones and the column counts, as in Unsloth. Raises RecordError if they
    differ.
    """
    indices = [part for part in parts if isinstance(part, int)]
    named = [part for part in parts if isinstance(part, str | EmbeddedImage)]
    if (indices or named) and len(parts) not in (len(indices), len(named)):
        raise wrong_type(field, "has image parts with and without an image", list(parts))
    if indices:
        if sorted({*indices}) != list(range(len(column))):
            raise wrong_type(field, "has image parts of other indices than its images", indices)
        return [column[index] for index in indices]
    if named and column and len(named) != len(column):
        raise unread_field(field, named)
    return column or named


def place_tokens(
    images: Sequence[ImageRef], turns: list[Turn]
) -> tuple[list[Turn], list[AppliedRepair]]:
    """Place one `<image>` per image before the first question if no turn has one.

    ms-swift (template/base.py) and InternVL (finetune.py) do the same. Return the turns, and the
    repair that holds the question before.
    """
    first = next((n for n, (speaker, _) in enumerate(turns) if speaker == "human"), None)
    if not images or first is None or any(IMAGE_TOKEN in text for _, text in turns):
        return turns, []
    text = turns[first][1]
    placed = f"{IMAGE_TOKEN}\n" * len(images) + text
    return (
        [*turns[:first], ("human", placed), *turns[first + 1 :]],
        [AppliedRepair(Repair.TOKEN_ADDED, text)],
    )
