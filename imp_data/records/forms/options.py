"""Letter the options of a question and find the correct one: by text, letter or index."""

import re
from typing import Any, NoReturn

from imp_data.ledger import Reason, Verdict
from imp_data.records.forms.base import RecordError, wrong_type
from imp_data.records.forms.list_text import read_list_text
from imp_data.records.layouts.unread_fields import preview

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# `B`, `(b)`, `B.`; and `B. a text`, the whole option.
_LETTER = re.compile(r"\(?([A-Za-z])[.):]?\)?")
_LETTERED = re.compile(r"\(?([A-Za-z])[.):]\s*(\S.*)", re.DOTALL)


def read_options(value: Any, field: str) -> list[str]:
    """Return the texts of options; empty text for one that is null, no options for null.

    A list, also as text, an object of letters, and {"text": [...], "label": [...]} are read.
    Letters that the texts themselves begin with are removed.
    """
    value = read_list_text(value)
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    elif isinstance(value, dict) and list(value) == list(_LETTERS[: len(value)]):
        value = list(value.values())
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(field, "should be a list of options", value)
    texts = [read_option(one, f"{field}.{number}") for number, one in enumerate(value)]
    found = [_LETTERED.fullmatch(text) for text in texts]
    letters = "".join(match[1].upper() if match else " " for match in found)
    if texts and letters == _LETTERS[: len(texts)]:
        return [match[2] for match in found if match]
    return texts


def read_option(value: Any, field: str) -> str:
    """Return an option as text, empty for null; raise RecordError if it is something else."""
    if isinstance(value, str):
        return value.strip()
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return "" if value is None else str(value)
    raise wrong_type(field, "should be text", value)


def letter_options(options: list[str], correct: Any, field: str) -> tuple[str, str]:
    """Return the lines `A. …` and the letter of the correct option.

    `correct` is an option's text, its letter, or its index from 0, tried in this order. Empty
    options are left out, and later ones move up. Raises RecordError (`bad_options`) if no option or
    more than one is correct.
    """
    present = [number for number, text in enumerate(options) if text]
    index = _find_correct(options, correct)
    if len(present) > len(_LETTERS):
        _refuse(field, "there are more options than letters", options, correct)
    if index is None:
        _refuse(field, "the correct option is not among them", options, correct)
    if index not in present or options.count(options[index]) > 1:
        _refuse(field, "the correct option is empty or stands twice", options, correct)
    lines = [f"{_LETTERS[place]}. {options[number]}" for place, number in enumerate(present)]
    return "\n".join(lines), _LETTERS[present.index(index)]


def _find_correct(options: list[str], correct: Any) -> int | None:
    """Return the index of the correct option, or None."""
    if isinstance(correct, int) and not isinstance(correct, bool):
        return correct if 0 <= correct < len(options) else None
    if not isinstance(correct, str) or not correct.strip():
        return None
    text = correct.strip()
    if text in options:
        return options.index(text)
    lettered = _LETTERED.fullmatch(text)
    if lettered and lettered[2] in options:
        place = _LETTERS.index(lettered[1].upper())
        return place if options[place : place + 1] == [lettered[2]] else None
    if letter := _LETTER.fullmatch(text):
        place = _LETTERS.index(letter[1].upper())
        return place if place < len(options) else None
    return _find_correct(options, int(text)) if re.fullmatch("[0-9]{1,4}", text) else None


def _refuse(field: str, problem: str, options: list[str], correct: Any) -> NoReturn:
    evidence = {"field": field, "problem": problem, "options": preview(options)}
    raise RecordError(Verdict(Reason.BAD_OPTIONS, {**evidence, "correct": preview(correct)}))
