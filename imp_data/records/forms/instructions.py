"""Read records of one instruction and its answer, with earlier exchanges in `history`.

ms-swift has query and response (also history and `<img>URL</img>` in a text), LLaMA-Factory's
alpaca format has instruction, input and output, TRL has prompt and completion.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from imp_data.records.forms.assemble import assemble
from imp_data.records.forms.base import (
    Conversation,
    FormSettings,
    ImageRef,
    Turn,
    column_names,
    read_text,
    unread_field,
    wrong_type,
)
from imp_data.records.forms.images import read_images
from imp_data.records.forms.turns import match_images, read_system
from imp_data.sample import IMAGE_TOKEN

# Roles of the instruction and of its answer.
_PAIRS = (
    ("query", "response"),
    ("instruction", "output"),
    ("prompt", "completion"),
    ("prompt", "response"),
)
ROLES = ("query", "response", "instruction", "input", "output", "prompt", "completion", "history")
_IMAGE_TAG = re.compile(r"<img>(.*?)</img>", re.DOTALL)


def find_columns(record: dict[str, Any], settings: FormSettings) -> tuple[str, str] | None:
    """Return the columns of instruction and answer; None if the record has neither pair."""
    for pair in _PAIRS:
        asked, answered = (settings.columns.get(role, role) for role in pair)
        if isinstance(record.get(asked), str) and answered in record:
            return asked, answered
    return None


def read_pairs(record: dict[str, Any], settings: FormSettings) -> Conversation:
    """Return the Conversation of a record that `find_columns` recognises."""
    columns = find_columns(record, settings)
    if columns is None:
        raise wrong_type("query", "is missing", None)
    asked, answered = columns
    more = ("history", "input") if asked in column_names(settings, "instruction") else ("history",)
    check_others(record, settings, (*columns, *column_names(settings, *more)))
    turns = list(_read_history(record, settings))
    turns.append(("human", _read_question(record, settings, asked)))
    turns.append(("gpt", read_text(record[answered], answered)))
    turns, tagged = _extract_tags(turns)
    column, repairs = read_images(record, settings)
    images = match_images(column, tagged, asked)
    return assemble(record, settings, images, read_system(record, settings, turns), repairs=repairs)


def check_others(record: dict[str, Any], settings: FormSettings, used: Iterable[str]) -> None:
    """Raise RecordError if a column of this module's roles is neither used nor empty."""
    unused = set(column_names(settings, *ROLES)).difference(used)
    for name in sorted(unused):
        if record.get(name):
            raise unread_field(name, record[name])


def _read_question(record: dict[str, Any], settings: FormSettings, asked: str) -> str:
    """Return the instruction; alpaca's input follows in a line of its own, as in LLaMA-Factory."""
    question = read_text(record[asked], asked)
    name = settings.columns.get("input", "input")
    if asked not in column_names(settings, "instruction") or record.get(name) is None:
        return question
    more = read_text(record[name], name)
    return f"{question}\n{more}" if more.strip() else question


def _read_history(record: dict[str, Any], settings: FormSettings) -> Iterator[Turn]:
    """Yield the earlier exchanges, a list of [question, answer]."""
    name = settings.columns.get("history", "history")
    history = record.get(name)
    if history is None:
        return
    if not isinstance(history, list):
        raise wrong_type(name, "should be a list", history)
    for number, exchange in enumerate(history):
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise wrong_type(f"{name}.{number}", "should be [question, answer]", exchange)
        for speaker, (place, text) in zip(("human", "gpt"), enumerate(exchange), strict=True):
            yield speaker, read_text(text, f"{name}.{number}.{place}")


def _extract_tags(turns: list[Turn]) -> tuple[list[Turn], list[ImageRef]]:
    """Replace `<img>URL</img>` in questions by `<image>`; return the turns and the URLs."""
    images = list[ImageRef]()
    replaced = list[Turn]()
    for speaker, text in turns:
        if speaker == "human":
            images += _IMAGE_TAG.findall(text)
            text = _IMAGE_TAG.sub(IMAGE_TOKEN, text)
        replaced.append((speaker, text))
    return replaced, images
