"""The objects of a JSON file of questions, answers or annotations, whatever form it has."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from imp_data.errors import UserError
from imp_data.storage.file_kinds import HEAD_BYTES, described, file_kind
from imp_data.storage.small_files import read_small

_MOST_BYTES = 512 << 20
# Blanks, and the commas that some writers put between objects.
_BETWEEN = " \t\r\n,"
# A key by which an object is a row itself, and not what rows stand in.
_OF_A_ROW = frozenset({"question_id", "conversations", "text"})
_MAY_BE_JSON = frozenset({None, "json", "utf-16", "utf-32"})
_WRITE_JSON = "write it as JSON in UTF-8, one object a line"


class Placed(NamedTuple):
    """A row of a file, and where it stands, for messages."""

    place: str
    value: Any


def placed_rows(path: Path) -> list[Placed]:
    """Every row with its place.

    Read are an array, an array within one object (as under TextVQA's `data`), objects by their id
    in one object, JSON Lines, and objects or arrays one after another, on lines or across them; in
    UTF-8, 16 or 32, marked by a BOM or not. Raises UserError, naming file and line, where it is
    none of these.
    """
    text = _text(path)
    try:
        return _rows_of(orjson.loads(text), str(path))
    except orjson.JSONDecodeError:
        parts = _one_after_another(path, text)
        return [row for part in parts for row in _elements(part.value, part.place)]


def read_rows(path: Path) -> list[Any]:
    """The rows alone."""
    return [row.value for row in placed_rows(path)]


def _text(path: Path) -> str:
    content = read_small(path, _MOST_BYTES, "name a file of questions or answers")
    kind = file_kind(content[:HEAD_BYTES])
    if kind not in _MAY_BE_JSON:
        raise UserError(path, f"is {described(kind)}", _WRITE_JSON)
    try:
        # By its BOM, or by where its NULs are: JSON begins with two characters of ASCII.
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        problem = f"is not in UTF-8: byte {error.start + 1:,}"
        raise UserError(path, problem, _WRITE_JSON) from None
    return text.lstrip("\ufeff").rstrip("\0\x1a")


def _one_after_another(path: Path, text: str) -> Iterator[Placed]:
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
            # A number of thousands of digits, or brackets in thousands.
            problem = f"is not read ({error})"
            raise UserError(f"{path}, line {line}", problem, "repair the line") from None
        yield Placed(f"{path}, line {line}", value)


def _rows_of(whole: Any, place: str) -> list[Placed]:
    """The rows of a file that is one value."""
    if not isinstance(whole, dict) or whole.keys() & _OF_A_ROW:
        return list(_elements(whole if isinstance(whole, list) else [whole], place))
    arrays = [value for value in whole.values() if _holds_objects(value)]
    if len(arrays) == 1:
        return list(_elements(arrays[0], place))
    if whole and all(isinstance(value, dict) for value in whole.values()):
        by_id = [{"question_id": name, "id": name, **value} for name, value in whole.items()]
        return list(_elements(by_id, place))
    return list(_elements([whole], place))


def _elements(value: Any, place: str) -> Iterator[Placed]:
    if not isinstance(value, list):
        yield Placed(place, value)
        return
    for number, element in enumerate(value):
        yield Placed(f"{place}, record {number}", element)


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
