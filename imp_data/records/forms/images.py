"""Find the images of a record: paths, URLs, objects, lists of them, and numbered columns."""

import json
from typing import Any

from imp_data.ledger import AppliedRepair, Repair
from imp_data.records.forms.base import (
    FormSettings,
    ImageRef,
    unread_field,
    wrong_type,
)
from imp_data.sample import EmbeddedImage

# `decoded_image` is MathVista's; a WebDataset names a column by the extension of its file.
_SINGLE = ("image", "decoded_image", "jpg", "jpeg", "png", "webp")
# MMMU has image_1 to image_7, which together are the record's images.
_NUMBERED = tuple(f"image_{number}" for number in range(1, 17))
_COMMON = ("images", *_SINGLE, *_NUMBERED)
# The fields of an object that may hold the image, or the object that does. An object of the Hub
# has `bytes` and `path`, whose path is only a name if the bytes are there.
_REFERENCES = ("bytes", "path", "url", "image", "image_url", "file_name", "value", "base64")
_MAX_NESTING = 4
_NEGATIVE = "is a number below 0: rows of image files count from 0"
_NUMBER = "is a number; if it is a row of image files, name them in image_rows of the manifest"
_EXPECTED = "should be an image: a path, a URL, or an object with one"


def image_columns(settings: FormSettings) -> tuple[str, ...]:
    """Return the names of the columns that may hold images; numbered ones are one list."""
    stated = [settings.columns[role] for role in ("images", "image") if role in settings.columns]
    return tuple(stated) or _COMMON


def has_image(record: dict[str, Any]) -> bool:
    """Return whether a column of images, by one of the common names, is not empty."""
    return any(record.get(name) for name in image_columns(FormSettings()))


def read_images(
    record: dict[str, Any], settings: FormSettings
) -> tuple[list[ImageRef], list[AppliedRepair]]:
    """Return the images of a record in order, and the repairs of their fields.

    Raises RecordError if a value is no image, or if two columns hold different images.
    """
    found = list[ImageRef]()
    column = ""
    for name in image_columns(settings):
        if record.get(name) is None:
            continue
        images = _read_column(record[name], name)
        if column in _NUMBERED and name in _NUMBERED:
            found = [*found, *images]
        elif found and images and images != found:
            raise unread_field(name, record[name])
        elif images and not found:
            found, column = images, name
    is_list = column in ("images", settings.columns.get("images"))
    return found, [] if is_list else _unlisted(record.get(column), found)


def number_images(record: dict[str, Any], settings: FormSettings) -> dict[str, ImageRef]:
    """Return the images that texts may name by number, `<image 1>`, by the fields they stand in.

    The number is that of the column `image_1`, or the place in a list of images, from 1.
    """
    found: dict[str, ImageRef] = {}
    for name in _NUMBERED if not {"image", "images"} & settings.columns.keys() else ():
        image = resolve_image(record.get(name), name)
        if image is not None:
            found[name] = image
    if found:
        return found
    images, _ = read_images(record, settings)
    return {f"image_{number}": image for number, image in enumerate(images, 1)}


def _unlisted(value: Any, images: list[ImageRef]) -> list[AppliedRepair]:
    """Return the repair of a column for one image that holds a list of one."""
    if not isinstance(value, list) or len(images) != 1 or isinstance(images[0], EmbeddedImage):
        return []
    return [AppliedRepair(Repair.IMAGE_UNLISTED, json.dumps(images, ensure_ascii=False))]


def _read_column(value: Any, name: str) -> list[ImageRef]:
    if not isinstance(value, list):
        one = resolve_image(value, name)
        return [] if one is None else [one]
    images = list[ImageRef]()
    for number, item in enumerate(value):
        one = resolve_image(item, f"{name}.{number}")
        if one is None:
            raise wrong_type(f"{name}.{number}", "is an image that is null", item)
        images.append(one)
    return images


def resolve_image(value: Any, field: str, nesting: int = 0) -> ImageRef | None:
    """Return the image that a value names; None if it is null, or an object of nulls.

    Raises RecordError if the value is something else, such as a number in another file.
    """
    if value is None or isinstance(value, str | EmbeddedImage):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong_type(field, _NEGATIVE if value < 0 else _NUMBER, value)
    if not isinstance(value, dict) or nesting == _MAX_NESTING:
        raise wrong_type(field, _EXPECTED, value)
    for name in _REFERENCES:
        image = resolve_image(value.get(name), f"{field}.{name}", nesting + 1)
        if image:
            return image
    if any(part is not None for part in value.values()):
        raise wrong_type(field, _EXPECTED, value)
    return None
