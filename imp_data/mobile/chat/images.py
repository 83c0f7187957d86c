"""Images that came with a request, squared as the model's own preprocessing does."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from PIL import Image, UnidentifiedImageError

from imp_data.images.decoding import (
    NoImage,
    TooManyPixels,
    decode_rgb,
    open_image,
    orientation_of,
    quietly,
)
from imp_data.mobile.chat.field_rules import RequestRefused
from imp_data.mobile.runtime.images import encode_png

MAX_IMAGE_BYTES = 8 << 20
# What browsers and phones make, by Pillow's names; and how many pixels one may have, so that none
# takes more than about 1.2 GB of memory. The bytes decide, not what a request says of them.
_WEBP_AVIF_PIXELS = 40_000_000
MAX_PIXELS_BY_FORMAT: Mapping[str, int] = {
    "JPEG": 100_000_000,
    "PNG": 100_000_000,
    "WEBP": _WEBP_AVIF_PIXELS,
    "GIF": 100_000_000,
    "AVIF": _WEBP_AVIF_PIXELS,
    "BMP": 100_000_000,
}
_NAMES = "JPEG, PNG, WebP, GIF, AVIF, BMP"
# JPEG's own limit. A long thin image becomes a large one while it is squared.
MAX_SIDE_PIXELS = 65_535
# A progressive JPEG has some ten; each is another pass over all of its pixels.
_JPEG_SCANS, _SCAN = 100, b"\xff\xda"
# Of one request. A context of 2,048 tokens holds ten of the smallest.
MAX_REQUEST_IMAGES, MAX_REQUEST_PIXELS = 16, 200_000_000
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

SquareImage = Callable[[Image.Image], Image.Image]


class RequestImage(NamedTuple):
    """An image of a request as its bytes, which were looked at no further than their head."""

    raw: bytes
    field: str

    def square_data_url(self, square: SquareImage) -> str:
        """The data URL of the squared image, as PNG. Raises Refused: the bytes are damaged."""
        return png_data_url(square(_decoded(self.raw, self.field)))


class ImageBudget:
    """Counts a request's images and their pixels, before any of them is decoded."""

    def __init__(self) -> None:
        self._images = self._pixels = 0

    def given(self, url: str, field: str) -> RequestImage:
        """The image in a base64 data URL.

        Raises:
            Refused: it is no image, is one too many or too large, or lies elsewhere: the server
                would have to fetch it.
        """
        self._images += 1
        if self._images > MAX_REQUEST_IMAGES:
            raise RequestRefused(
                413, field, f"is one image more than the {MAX_REQUEST_IMAGES} of a request"
            )
        raw = _bytes_of(url, field)
        width, height = _checked_size(raw, field)
        self._pixels += width * height
        if self._pixels > MAX_REQUEST_PIXELS:
            problem = (
                f"is more than the {MAX_REQUEST_PIXELS // 10**6} megapixels of a request's images"
            )
            raise RequestRefused(413, field, problem)
        return RequestImage(raw, field)


def _bytes_of(url: str, field: str) -> bytes:
    head = _DATA_URL.match(url[:1024])
    if not head:
        raise RequestRefused(400, field, "must be a base64 data URL of an image; no other address")
    data = url[head.end() :]
    if len(data) > MAX_IMAGE_BYTES * 2:  # line breaks and %2B within it
        raise _too_long(field)
    try:
        # Line breaks, percent signs, - and _ for + and /, no = at the end: all are in use.
        text = "".join(unquote(data).split()).translate(_URLSAFE).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RequestRefused(400, field, "is not base64") from None


def square_upload(raw: bytes, square: SquareImage) -> tuple[Image.Image, float]:
    """A person's file, turned upright by its EXIF orientation and squared; its width by height.

    Training turns nothing, and the images that it sees are upright as they are stored. A photo as
    people see it on their screens is therefore what the model knows. Raises Refused.
    """
    _checked_size(raw, "file")
    upright = _decoded(raw, "file")
    turn = _TURNS.get(_orientation(raw))
    if turn is not None:
        upright = upright.transpose(turn)
    return square(upright), upright.width / upright.height


def _checked_size(raw: bytes, field: str) -> tuple[int, int]:
    """Width and height as the head of these bytes states them; nothing is decoded yet.

    Raises:
        Refused: the bytes, pixels or passes are too many, or they are no image.
    """
    if len(raw) > MAX_IMAGE_BYTES:
        raise _too_long(field)
    try:
        with quietly(), open_image(raw, None, tuple(MAX_PIXELS_BY_FORMAT)) as image:
            (width, height), kind = image.size, image.format
    except Exception as error:
        # Decoders raise whatever they meet in damaged bytes.
        raise _no_image(raw, field, error) from None
    most = MAX_PIXELS_BY_FORMAT.get(
        kind or "", MAX_PIXELS_BY_FORMAT["JPEG"]
    )  # an MPO is a JPEG and more of them
    if width * height > most:
        problem = f"has too many pixels ({width}x{height} is more than {most:,})"
        raise RequestRefused(413, field, problem)
    if max(width, height) > MAX_SIDE_PIXELS:
        problem = f"has a side of too many pixels ({max(width, height):,} of {MAX_SIDE_PIXELS:,})"
        raise RequestRefused(413, field, problem)
    if raw.startswith(b"\xff\xd8") and raw.count(_SCAN) > _JPEG_SCANS:
        raise RequestRefused(400, field, f"is a JPEG of over {_JPEG_SCANS} scans")
    return width, height


def _decoded(raw: bytes, field: str) -> Image.Image:
    try:
        return decode_rgb(raw, max(MAX_PIXELS_BY_FORMAT.values()), tuple(MAX_PIXELS_BY_FORMAT))
    except TooManyPixels as error:
        raise RequestRefused(413, field, f"has too many pixels ({error})") from None
    except NoImage as error:
        raise _no_image(raw, field, error) from None
    except MemoryError:
        raise RequestRefused(413, field, "needs more memory than there is") from None


def _no_image(raw: bytes, field: str, error: Exception) -> RequestRefused:
    """Nothing of the decoder's own words: they can tell of this process."""
    if raw[4:8] == b"ftyp" and raw[8:12] in _HEIC:
        kind = "HEIC"
    elif isinstance(error, UnidentifiedImageError):
        kind = "no image format that is read here"
    else:
        kind = "damaged"
    return RequestRefused(400, field, f"cannot be read as an image ({kind}); send {_NAMES}")


def _orientation(raw: bytes) -> int:
    with quietly(), open_image(raw, None, tuple(MAX_PIXELS_BY_FORMAT)) as image:
        return orientation_of(image)


def png_data_url(image: Image.Image) -> str:
    """The image as a PNG within an address."""
    return f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"


def _too_long(field: str) -> RequestRefused:
    return RequestRefused(413, field, f"is an image of over {MAX_IMAGE_BYTES >> 20} MiB")
