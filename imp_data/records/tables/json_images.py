"""Find images that stand as base64 within a record, and name them by their places."""

from collections.abc import Callable
from typing import Any

import orjson

from imp_data.records.tables.image_columns import is_base64_image
from imp_data.sample import EmbeddedImage
from imp_data.storage.embedded_names import cell_name, inner_name, span_name

_MOST_LEVELS = 64
# What JSON text within a text contains if an image stands in it: see `record_files`.
BASE64_MARKS = (";base64,", '"/9j/', '"iVBORw0KGgo', '"R0lGOD', '"UklGR')


def name_json_images(value: Any, file: str, start: int, end: int) -> Any:
    """Return a record with each image in it replaced by its name.

    `start` and `end` are the record's bytes in the file. Images count in the order of the text.
    """
    return _name_each(value, lambda number: f"{file}/{span_name(start, end, number)}")


def name_member_images(value: Any, file: str, member: str) -> Any:
    """Return the JSON of a tar's member with each image in it replaced by its name."""
    return _name_each(value, lambda number: f"{file}/{inner_name(member, number)}")


def name_inner_images(record: dict[str, Any], row: int, file: str) -> None:
    """Replace the images that stand within the cells of a record, which is a row of a table."""
    for column, value in record.items():
        if isinstance(value, str | list | dict):
            record[column] = _name_each(value, _cell_namer(file, column, row))


def _cell_namer(file: str, column: str, row: int) -> Callable[[int], str]:
    return lambda number: f"{file}/{cell_name(column, row, number, inner=True)}"


def _name_each(value: Any, name: Callable[[int], str]) -> Any:
    count = 0

    def replace(_: str) -> EmbeddedImage:
        nonlocal count
        count += 1
        return EmbeddedImage(name(count - 1))

    return _replace(value, replace)


def find_json_image(value: Any, number: int) -> str | None:
    """Return the text of an image in a record or a cell, by its number."""
    found: list[str] = []

    def collect(text: str) -> str:
        found.append(text)
        return text

    _replace(value, collect)
    return found[number] if number < len(found) else None


def _replace(value: Any, replace: Callable[[str], Any], level: int = 0) -> Any:
    """Return a value with its images replaced; images nested more deeply than a form stay.

    JSON text with images, as the value of a column, becomes the value that it holds.
    """
    match value:
        case str():
            if is_base64_image(value):
                return replace(value)
            inner = _json_with_images(value) if level < 2 else None
            return value if inner is None else _replace(inner, replace, level + 1)
        case dict() if level < _MOST_LEVELS:
            return {key: _replace(one, replace, level + 1) for key, one in value.items()}
        case list() if level < _MOST_LEVELS:
            return [_replace(one, replace, level + 1) for one in value]
    return value


def _json_with_images(text: str) -> list[Any] | None:
    """Return the list that a text holds as JSON, if images may stand in it."""
    if not text.startswith("[") or not any(mark in text for mark in BASE64_MARKS):
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, list) else None
