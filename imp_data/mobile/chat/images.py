"""An image that came with a request, squared as the model's own preprocessing does."""

import base64
import binascii
import re
from collections.abc import Callable
from urllib.parse import unquote

from PIL import Image

from imp_data.images.decoding import (
    NoImage,
    TooManyPixels,
    opened,
    orientation_of,
    quietly,
    rgb_of,
)
from imp_data.mobile.chat.rules import Refused
from imp_data.mobile.pictures import png

IMAGE_BYTES = 8 << 20
# 100 megapixels: above every phone's camera, below what would fill a small server's memory.
IMAGE_PIXELS = 100_000_000
# What browsers and phones make. The bytes decide; what a request says of them does not.
_FORMATS = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "GIF": "GIF",
    "AVIF": "AVIF",
    "BMP": "BMP",
}
# What turns an image of this EXIF orientation upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_URLSAFE = str.maketrans("-_", "+/")
# Whatever media type and parameters it states, or none.
_DATA_URL = re.compile(r"data:[^,]*;\s*base64\s*,", re.IGNORECASE)
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

Square = Callable[[Image.Image], Image.Image]


def squared_url(url: str, field: str, square: Square) -> str:
    """A base64 data URL to the data URL of the squared image, as PNG.

    Raises:
        Refused: it is no image, or lies elsewhere: the server would have to fetch it.
    """
    head = _DATA_URL.match(url[:1024])
    if not head:
        raise Refused(400, field, "must be a base64 data URL of an image; no other address")
    data = url[head.end() :]
    if len(data) > IMAGE_BYTES * 2:  # line breaks and %2B within it
        raise _too_long(field, IMAGE_BYTES)
    try:
        # Line breaks, percent signs, - and _ for + and /, no = at the end: all are in use.
        text = "".join(unquote(data).split()).translate(_URLSAFE).rstrip("=")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, field, "is not base64") from None
    return data_url(squared_bytes(raw, field, square))


def squared_bytes(raw: bytes, field: str, square: Square) -> Image.Image:
    """The image in these bytes as training saw it, squared. Raises Refused."""
    if len(raw) > IMAGE_BYTES:
        raise _too_long(field, IMAGE_BYTES)
    return square(_decoded(raw, field))


def squared_file(raw: bytes, square: Square) -> tuple[Image.Image, float]:
    """A person's file, turned upright by its EXIF orientation and squared; its width by height.

    Training turns nothing, and the images that it sees are upright as they are stored. A photo as
    people see it on their screens is therefore what the model knows. Raises Refused.
    """
    upright = _decoded(raw, "file")
    turn = _TURNS.get(_orientation(raw))
    if turn is not None:
        upright = upright.transpose(turn)
    return square(upright), upright.width / upright.height


def _decoded(raw: bytes, field: str) -> Image.Image:
    try:
        return rgb_of(raw, IMAGE_PIXELS, tuple(_FORMATS))
    except TooManyPixels as error:
        raise Refused(413, field, f"has too many pixels ({error})") from None
    except NoImage as error:
        known = ", ".join(_FORMATS.values())
        kind = "HEIC" if raw[4:8] == b"ftyp" and raw[8:12] in _HEIC else error
        raise Refused(400, field, f"cannot be read as an image ({kind}); send {known}") from None


def _orientation(raw: bytes) -> int:
    with quietly(), opened(raw, None, tuple(_FORMATS)) as image:
        return orientation_of(image)


def data_url(image: Image.Image) -> str:
    """The image as a PNG within an address."""
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"


def _too_long(field: str, max_bytes: int) -> Refused:
    return Refused(413, field, f"is an image of over {max_bytes >> 20} MiB")
