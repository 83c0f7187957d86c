"""Read the content of a message: a text, or a list of parts of text and images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from imp_data.records.forms.base import (
    ImageRef,
    choose_field,
    read_list,
    read_text,
    unread_field,
    wrong_type,
)
from imp_data.records.forms.images import resolve_image
from imp_data.records.layouts.unread_fields import may_matter
from imp_data.sample import IMAGE_TOKEN

# OpenAI's names of parts: text and image_url in chat completions, input_… and output_text in
# responses. TRL, Axolotl and XTuner write `image`.
_TEXT_PARTS = ("text", "input_text", "output_text")
_IMAGE_PARTS = ("image", "image_url", "input_image")
_TEXT_FIELDS = ("text", "value", "content")  # `value` is LLaMA-Factory v1's
_IMAGE_FIELDS = ("image", "image_url", "url", "path", "value", "bytes", "base64")
# Fields of a part without meaning for training; XTuner's image_wh is the image's size.
_IGNORED = frozenset({"type", "index", "id", "detail", "cache_control", "image_wh", "image_id"})
# InternVL's and XTuner's token, which other tokenizers do not know.
_IMG_CONTEXT = "<IMG_CONTEXT>"


# The image of a part; or its index among the images of the record, or None for the next of them.
PartImage = ImageRef | int | None


class Content(NamedTuple):
    """The text of a message, and the image of each image part."""

    text: str
    images: Sequence[PartImage] = ()


def read_content(value: Any, field: str, speaker: str) -> Content:
    """Read a message's text or parts; write `<image>` where an image part stands.

    If the text of the message has tokens of its own, they state where the images go, as in
    XTuner's data. Raises RecordError, which names the part, if a part is no text and no image.
    """
    if isinstance(value, list):
        pieces, images = _read_parts(read_list(value, field), field)
        pieces = [one if one is None else _image_tokens(one, speaker) for one in pieces]
        if any(one is not None and IMAGE_TOKEN in one for one in pieces):
            pieces = [one for one in pieces if one is not None]
        return Content(join_pieces(pieces), images)
    return Content(_image_tokens(read_text(value, field), speaker))


def _image_tokens(text: str, speaker: str) -> str:
    return text.replace(_IMG_CONTEXT, IMAGE_TOKEN) if speaker == "human" else text


def _read_parts(parts: list[Any], field: str) -> tuple[list[str | None], list[PartImage]]:
    """Return texts, with None in place of each image, and the images."""
    pieces, images = list[str | None](), list[PartImage]()
    for number, part in enumerate(parts):
        where = f"{field}.{number}"
        if isinstance(part, str):
            pieces.append(part)
            continue
        if not isinstance(part, dict):
            raise wrong_type(where, "should be a part: an object, or text", part)
        kind = part.get("type") or _guess_type(part)
        if kind in _TEXT_PARTS:
            name = choose_field(part, _TEXT_FIELDS, f"{where}.") or "text"
            pieces.append(read_text(part.get(name), f"{where}.{name}"))
            _check_rest(part, _TEXT_FIELDS, where)
        elif kind in _IMAGE_PARTS:
            pieces.append(None)
            images.append(_read_image(part, where))
            _check_rest(part, _IMAGE_FIELDS, where)
        else:
            raise unread_field(where, part)
    return pieces, images


def _read_image(part: dict[str, Any], where: str) -> PartImage:
    given = {name: part[name] for name in _IMAGE_FIELDS if part.get(name) is not None}
    image = resolve_image(given, where)
    index = part.get("index")
    return index if image is None and type(index) is int else image


def _guess_type(part: dict[str, Any]) -> str | None:
    """Return the type of a part without one, by its only field that is not null."""
    names = [name for name, value in part.items() if value is not None]
    return names[0] if len(names) == 1 else None


def _check_rest(part: dict[str, Any], read: Sequence[str], where: str) -> None:
    for name, value in part.items():
        if name not in read and name not in _IGNORED and may_matter(name, value):
            raise unread_field(f"{where}.{name}", value)


def join_pieces(pieces: Sequence[str | None]) -> str:
    """Join texts and images (None) in order.

    An image before or after all text has a line of its own, as in LLaVA's data; one between texts
    is set off by a space, and two texts by a newline, unless white space is there already.
    """
    texts = [number for number, piece in enumerate(pieces) if piece is not None]
    first, last = (texts[0], texts[-1]) if texts else (len(pieces), len(pieces))
    joined = ""
    for number, piece in enumerate(pieces):
        if number and joined:
            within = first < number <= last
            both_texts = piece is not None and pieces[number - 1] is not None
            separator = " " if within and not both_texts else "\n"
            following = IMAGE_TOKEN if piece is None else piece
            if not (joined[-1:].isspace() or following[:1].isspace()):
                joined += separator
        joined += IMAGE_TOKEN if piece is None else piece
    return joined
