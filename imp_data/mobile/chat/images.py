"""Check the images of a request and make them square by the model's own preprocessing."""

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
    read_orientation,
    without_warnings,
)
from imp_data.mobile.chat.field_rules import RequestRefused
from imp_data.mobile.runtime.images import encode_png

MAX_IMAGE_BYTES = 8 << 20
# The formats that browsers and phones produce, by Pillow's names, with the maximum number of pixels
# such that no image takes more than about 1.2 GB of memory. The bytes determine the format, not the
# media type that a request states.
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
# JPEG's own limit. A long thin image becomes large when it is padded to a square.
MAX_SIDE_PIXELS = 65_535
# A progressive JPEG has about ten scans; each is another pass over all of its pixels.
_JPEG_SCANS, _SCAN = 100, b"\xff\xda"
# Limits of one request. A context of 2,048 tokens holds ten of the smallest images.
MAX_REQUEST_IMAGES, MAX_REQUEST_PIXELS = 16, 200_000_000
# EXIF orientation to the operation that turns the image upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_URLSAFE = str.maketrans("-_", "+/")
# Any media type and parameters, or none.
_DATA_URL = re.compile(r"data:[^,]*;\s*base64\s*,", re.IGNORECASE)
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

SquareImage = Callable[[Image.Image], Image.Image]


class RequestImage(NamedTuple):
    """The bytes of an image in a request; only their header has been checked."""

    raw: bytes
    field: str

    def square_data_url(self, square: SquareImage) -> str:
        """Return the square image as a PNG data URL. Raise RequestRefused for damaged bytes."""
        return png_data_url(square(_decode(self.raw, self.field)))


class ImageBudget:
    """Count the images of a request and their pixels before any image is decoded."""

    def __init__(self) -> None:
        self._images = self._pixels = 0

    def admit(self, url: str, field: str) -> RequestImage:
        """Return the image in a base64 data URL.

        Raises:
            RequestRefused: the URL holds no image or refers to another address, which the server
                would have to fetch; or the request has too many images or pixels.
        """
        self._images += 1
        if self._images > MAX_REQUEST_IMAGES:
            problem = f"exceeds the limit of {MAX_REQUEST_IMAGES} images per request"
            raise RequestRefused(413, field, problem)
        raw = _decode_data_url(url, field)
        width, height = _check_header(raw, field)
        self._pixels += width * height
        if self._pixels > MAX_REQUEST_PIXELS:
            megapixels = MAX_REQUEST_PIXELS // 10**6
            problem = f"exceeds the limit of {megapixels} megapixels of images per request"
            raise RequestRefused(413, field, problem)
        return RequestImage(raw, field)


def _decode_data_url(url: str, field: str) -> bytes:
    head = _DATA_URL.match(url[:1024])
    if not head:
        problem = "must be a base64 data URL of an image; the server fetches no other address"
        raise RequestRefused(400, field, problem)
    data = url[head.end() :]
    if len(data) > MAX_IMAGE_BYTES * 2:  # line breaks and %2B within it
        raise _too_long(field)
    try:
        # Clients send line breaks, percent escapes, - and _ for + and /, and no = at the end.
        text = "".join(unquote(data).split()).translate(_URLSAFE).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RequestRefused(400, field, "is not base64") from None


def square_upload(raw: bytes, square: SquareImage) -> tuple[Image.Image, float]:
    """Return a user's file, upright by its EXIF orientation and square, and its aspect ratio.

    Training ignores the EXIF orientation, and its images are stored upright. The upright image is
    therefore what the model knows. Raise RequestRefused if the file is not an image.
    """
    _check_header(raw, "file")
    upright = _decode(raw, "file")
    transpose = _UPRIGHT.get(_orientation(raw))
    if transpose is not None:
        upright = upright.transpose(transpose)
    return square(upright), upright.width / upright.height


def _check_header(raw: bytes, field: str) -> tuple[int, int]:
    """Return width and height as the image's header states them, without decoding.

    Raises:
        RequestRefused: the image has too many bytes, pixels or scans, or cannot be identified.
    """
    if len(raw) > MAX_IMAGE_BYTES:
        raise _too_long(field)
    try:
        with without_warnings(), open_image(raw, None, tuple(MAX_PIXELS_BY_FORMAT)) as image:
            (width, height), kind = image.size, image.format
    except Exception as error:
        # Decoders raise arbitrary exceptions for damaged bytes.
        raise _unreadable(raw, field, error) from None
    # An MPO file is a JPEG followed by others.
    max_pixels = MAX_PIXELS_BY_FORMAT.get(kind or "", MAX_PIXELS_BY_FORMAT["JPEG"])
    if width * height > max_pixels:
        problem = f"has too many pixels ({width}x{height} is more than {max_pixels:,})"
        raise RequestRefused(413, field, problem)
    if max(width, height) > MAX_SIDE_PIXELS:
        problem = f"is too wide or high ({max(width, height):,} of {MAX_SIDE_PIXELS:,} pixels)"
        raise RequestRefused(413, field, problem)
    if raw.startswith(b"\xff\xd8") and raw.count(_SCAN) > _JPEG_SCANS:
        raise RequestRefused(400, field, f"is a JPEG with more than {_JPEG_SCANS} scans")
    return width, height


def _decode(raw: bytes, field: str) -> Image.Image:
    try:
        return decode_rgb(raw, max(MAX_PIXELS_BY_FORMAT.values()), tuple(MAX_PIXELS_BY_FORMAT))
    except TooManyPixels as error:
        raise RequestRefused(413, field, f"has too many pixels ({error})") from None
    except NoImage as error:
        raise _unreadable(raw, field, error) from None
    except MemoryError:
        raise RequestRefused(413, field, "requires more memory than is available") from None


def _unreadable(raw: bytes, field: str, error: Exception) -> RequestRefused:
    """Omit the decoder's own message, which can disclose details of this process."""
    if raw[4:8] == b"ftyp" and raw[8:12] in _HEIC:
        kind = "HEIC"
    elif isinstance(error, UnidentifiedImageError):
        kind = "unsupported format"
    else:
        kind = "damaged"
    return RequestRefused(400, field, f"cannot be read as an image ({kind}); send {_NAMES}")


def _orientation(raw: bytes) -> int:
    with without_warnings(), open_image(raw, None, tuple(MAX_PIXELS_BY_FORMAT)) as image:
        return read_orientation(image)


def png_data_url(image: Image.Image) -> str:
    """Return the image as a PNG data URL."""
    return f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"


def _too_long(field: str) -> RequestRefused:
    return RequestRefused(413, field, f"is an image of more than {MAX_IMAGE_BYTES >> 20} MiB")
