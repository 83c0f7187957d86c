"""Read the rows of a JSON file of questions, answers or annotations, in any of its layouts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from imp_data.errors import UserError
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind, kind_phrase
from imp_data.storage.small_files import read_small

_MOST_BYTES = 512 << 20
# Blanks, and the commas that some writers put between objects.
_BETWEEN = " \t\r\n,"
# An object with one of these keys is a row itself, not a container of rows.
_OF_A_ROW = frozenset({"question_id", "conversations", "text"})
_MAY_BE_JSON = frozenset({None, "json", "utf-16", "utf-32"})
_WRITE_JSON = "write it as JSON in UTF-8, one object per line"


class LocatedRow(NamedTuple):
    """A row of a file, with its location for messages."""

    place: str
    value: Any


def read_located_rows(path: Path) -> list[LocatedRow]:
    """Return every row with its location.

    Accept an array, an array within one object (as TextVQA's `data`), one object that maps ids to
    objects, JSON Lines, and concatenated objects or arrays; in UTF-8, 16 or 32, with or without a
    BOM. Raise UserError with file and line for anything else.
    """
    text = _decode_text(path)
    try:
        return _extract_rows(orjson.loads(text), str(path))
    except orjson.JSONDecodeError:
        parts = _parse_concatenated(path, text)
        return [row for part in parts for row in _elements(part.value, part.place)]


def read_rows(path: Path) -> list[Any]:
    """Return the rows without their locations."""
    return [row.value for row in read_located_rows(path)]


def _decode_text(path: Path) -> str:
    content = read_small(path, _MOST_BYTES, "name a file of questions or answers")
    kind = detect_kind(content[:HEAD_BYTES])
    if kind not in _MAY_BE_JSON:
        raise UserError(path, f"is {kind_phrase(kind)}", _WRITE_JSON)
    try:
        # From its BOM, or the positions of NUL bytes: JSON begins with two ASCII characters.
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        problem = f"is not in UTF-8: byte {error.start + 1:,}"
        raise UserError(path, problem, _WRITE_JSON) from None
    return text.lstrip("\ufeff").rstrip("\0\x1a")


def _parse_concatenated(path: Path, text: str) -> Iterator[LocatedRow]:
    decoder, place, line, counted = json.JSONDecoder(), 0, 1, 0
    while True:
        while place < len(text) and text[place] in _BETWEEN:
            place += 1
        if place == len(text):
            return
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            problem = f"is not JSON ({error.msg})"
            raise UserError(f"{path}, line {error.lineno}", problem, "repair the line") from None
        except (ValueError, RecursionError) as error:
            # A number with thousands of digits, or thousands of nested brackets.
            problem = f"cannot be parsed ({error})"
            raise UserError(f"{path}, line {line}", problem, "repair the line") from None
        yield LocatedRow(f"{path}, line {line}", value)


def _extract_rows(whole: Any, place: str) -> list[LocatedRow]:
    """Return the rows of a file that is one JSON value."""
    if not isinstance(whole, dict) or whole.keys() & _OF_A_ROW:
        return list(_elements(whole if isinstance(whole, list) else [whole], place))
    arrays = [value for value in whole.values() if _holds_objects(value)]
    if len(arrays) == 1:
        return list(_elements(arrays[0], place))
    if whole and all(isinstance(value, dict) for value in whole.values()):
        by_id = [{"question_id": name, "id": name, **value} for name, value in whole.items()]
        return list(_elements(by_id, place))
    return list(_elements([whole], place))


def _elements(value: Any, place: str) -> Iterator[LocatedRow]:
    if not isinstance(value, list):
        yield LocatedRow(place, value)
        return
    for number, element in enumerate(value):
        yield LocatedRow(f"{place}, record {number}", element)


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
