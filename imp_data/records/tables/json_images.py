"""Find images that stand in a JSON record as base64, and name them by their places."""

from collections.abc import Callable
from typing import Any

from imp_data.records.tables.image_columns import is_base64_image
from imp_data.sample import EmbeddedImage
from imp_data.storage.embedded_names import span_name

_MOST_LEVELS = 64


def name_json_images(value: Any, file: str, start: int, end: int) -> Any:
    """Return a record with each image in it replaced by its name.

    `start` and `end` are the record's bytes in the file. Images count in the order of the text.
    """
    count = 0

    def name(_: str) -> EmbeddedImage:
        nonlocal count
        count += 1
        return EmbeddedImage(f"{file}/{span_name(start, end, count - 1)}")

    return _replace(value, name)


def find_json_image(value: Any, number: int) -> str | None:
    """Return the text of an image in a record, by its number."""
    found: list[str] = []

    def collect(text: str) -> str:
        found.append(text)
        return text

    _replace(value, collect)
    return found[number] if number < len(found) else None


def _replace(value: Any, replace: Callable[[str], Any], level: int = 0) -> Any:
    """Return a value with its images replaced; images nested more deeply than a form stay."""
    match value:
        case str():
            return replace(value) if is_base64_image(value) else value
        case dict() if level < _MOST_LEVELS:
            return {key: _replace(one, replace, level + 1) for key, one in value.items()}
        case list() if level < _MOST_LEVELS:
            return [_replace(one, replace, level + 1) for one in value]
    return value
