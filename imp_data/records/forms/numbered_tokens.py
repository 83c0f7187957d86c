"""Place the images that a text names by number: MMMU's `<image 1>` is the image of image_1."""

import re
from collections.abc import Mapping

from imp_data.ledger import Reason, Verdict
from imp_data.records.forms.base import ImageRef, RecordError, unread_field
from imp_data.sample import IMAGE_TOKEN

_TOKEN = re.compile(r"<image[ _]?([1-9][0-9]?)>")


def has_numbered_tokens(text: str) -> bool:
    """Return whether a text names an image by its number."""
    return "<image" in text and _TOKEN.search(text) is not None


def place_by_number(
    text: str, images: Mapping[str, ImageRef], field: str
) -> tuple[str, list[ImageRef]]:
    """Return a text with `<image>` for each numbered token, and the images in the tokens' order.

    `images` are those of image_1, image_2… Raises RecordError if a token names an image that is not
    there (`token_without_image`), or if no token names one that is (`unread_field`).
    """
    names = [f"image_{found[1]}" for found in _TOKEN.finditer(text)]
    for name in names:
        if name not in images:
            problem = f"names {name}, which is not there"
            evidence = {"field": field, "problem": problem, "images": sorted(images)}
            raise RecordError(Verdict(Reason.TOKEN_WITHOUT_IMAGE, evidence))
    for name, image in images.items():
        if name not in names:
            raise unread_field(name, image)
    return _TOKEN.sub(IMAGE_TOKEN, text), [images[name] for name in names]
