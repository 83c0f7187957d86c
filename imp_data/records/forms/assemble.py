"""Make a Conversation of a record's turns: its id, its subset, wordings and image tokens."""

import json
from collections.abc import Sequence
from typing import Any

from imp_data.ledger import AppliedRepair, Repair
from imp_data.records.forms.base import (
    Conversation,
    FormSettings,
    ImageRef,
    Turn,
    choose_field,
    column_names,
    wrong_type,
)
from imp_data.records.forms.turns import place_tokens
from imp_data.records.forms.wording import restore_llava_wording
from imp_data.sample import IMAGE_TOKEN, OPTION_LETTER_SUFFIX, SHORT_ANSWER_SUFFIX

SUFFIXES = {"short_answer": SHORT_ANSWER_SUFFIX, "option_letter": OPTION_LETTER_SUFFIX}


def assemble(
    record: dict[str, Any],
    settings: FormSettings,
    images: list[ImageRef],
    turns: list[Turn],
    *,
    repairs: Sequence[AppliedRepair] = (),
    has_tokens: bool = True,
    subset: str = "",
    dropped_turns: int = 0,
) -> Conversation:
    """Return the Conversation of a record; `images` and `turns` are as its form publishes them.

    `has_tokens` is whether the form's texts state where the images go. If so and a record does not,
    that is a repair; a form without tokens has them placed in each record.
    """
    identity, done = read_identity(record, settings)
    done += repairs
    if settings.wording == "llava":
        turns, replaced = restore_llava_wording(turns)
        done += replaced
    turns = append_suffix(turns, settings.suffix)
    if not any(IMAGE_TOKEN in text for _, text in turns):
        images, emptied = _remove_empty(images)
        done += emptied
    turns, placed = place_tokens(images, turns)
    done += placed if has_tokens else []
    subset = read_subset(record, settings) or subset
    return Conversation(identity, images, turns, subset, tuple(done), dropped_turns)


def read_identity(
    record: dict[str, Any], settings: FormSettings
) -> tuple[str | None, list[AppliedRepair]]:
    """Return the record's id as text, or None, and the repair that made it so."""
    names = column_names(settings, "id")
    found = next((record[name] for name in names if record.get(name) is not None), None)
    if found is None:
        is_null = any(name in record for name in names)
        return None, [AppliedRepair(Repair.ID_FROM_PLACE, "null")] if is_null else []
    if isinstance(found, str | int) and not isinstance(found, bool):
        return str(found), []
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"), default=str)
    return text, [AppliedRepair(Repair.ID_TO_TEXT, text)]


def read_subset(record: dict[str, Any], settings: FormSettings) -> str:
    """Return the subset that the column `subset` names; empty if the manifest states none."""
    name = settings.columns.get("subset")
    found = record.get(name) if name else None
    if found is None or isinstance(found, str | int):
        return "" if found is None else str(found)
    raise wrong_type(str(name), "should be text", found)


def append_suffix(turns: list[Turn], suffix: str) -> list[Turn]:
    """Append a suffix to the first question, as LLaVA does, unless it ends in it.

    `suffix` is a name in SUFFIXES, or the wording itself.
    """
    suffix = SUFFIXES.get(suffix, suffix)
    first = next((n for n, (speaker, _) in enumerate(turns) if speaker == "human"), None)
    if not suffix or first is None or turns[first][1].endswith(suffix):
        return turns
    return [*turns[:first], ("human", turns[first][1] + suffix), *turns[first + 1 :]]


def _remove_empty(images: list[ImageRef]) -> tuple[list[ImageRef], list[AppliedRepair]]:
    """Remove an only image whose path is empty; no token refers to it."""
    if len(images) == 1 and isinstance(images[0], str) and not images[0].strip():
        return [], [AppliedRepair(Repair.EMPTY_IMAGE_REMOVED, images[0])]
    return images, []


def required_field(record: dict[str, Any], settings: FormSettings, *roles: str) -> str:
    """Return the name of the column of these roles; raise RecordError if it is missing or null."""
    names = column_names(settings, *roles)
    name = choose_field(record, names)
    if name is None:
        null = next((one for one in names if one in record), None)
        raise wrong_type(null or names[0], "is null" if null else "is missing", None)
    return name
