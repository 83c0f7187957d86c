"""Decode images: JPEGs for hashing by libjpeg-turbo at a reduced scale, others by Pillow."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError, features

from imp_data.images.completeness import JPEGS, load_whole
from imp_data.images.decode_errors import NoImage, TooManyPixels
from imp_data.images.jpeg_completeness import check_scans
from imp_data.images.phash import FLAT_LEVELS, Frequencies, frequencies, strips
from imp_data.images.rgb import RGB_RULE, allow_text, rgb

__all__ = ["NoImage", "TooManyPixels"]

# A JPEG is decoded in grey at 1/2, 1/4 or 1/8 scale where both sides stay this long: the hash
# uses 32x32 pixels. At 1/8, libjpeg-turbo's fastest, copies are found as often as on a full decode
# (benchmarks/recall.py, docs/decontamination.md).
_DECODED_SIDE_PX = 60
_EXIF_ORIENTATION = 0x0112
_ICONS = (b"\0\0\1\0", b"icns")
# The version of the checks in images.completeness; change it with them.
_WHOLE = "whole data 1"
_PHASH = f"phash in one step, none below {FLAT_LEVELS:g} levels"
# Memory of JPEG 2000 for each pixel, and of any decoder for itself and for text chunks.
_PIXEL_BYTES, _DECODER_BYTES = 24, 256 << 20


def decoder_version() -> str:
    """Return the versions that a fingerprint depends on; never compare across different ones."""
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    libraries = f"Pillow {version('pillow')}, libjpeg {jpeg}, simplejpeg {version('simplejpeg')}"
    return f"{libraries}, {_DECODED_SIDE_PX} px, RGB rule {RGB_RULE}, {_PHASH}, {_WHOLE}"


@contextmanager
def without_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings: the fingerprint has the facts, or they do not affect a hash."""
    allow_text()
    with warnings.catch_warnings(action="ignore"):
        yield


def decode_rgb(
    data: bytes,
    max_pixels: int | None = None,
    formats: tuple[str, ...] | None = None,
    trusted: bool = False,
) -> Image.Image:
    """Decode the bytes to 8-bit RGB by the rules of images.rgb, in the stored orientation.

    `max_pixels` of None means no limit: the build has checked every image against its own.
    `formats` are Pillow's names; None means every format that Pillow decodes by itself.
    `trusted`: a build has found the image complete.
    Raise NoImage, MemoryError.
    """
    try:
        with without_warnings(), open_image(data, max_pixels, formats) as image:
            check_pixels(image, max_pixels)
            check_scans(image, data)
            load_whole(image, data, trusted)
            return rgb(image)
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"holds an image of more than {max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        raise NoImage("no image format that is read here") from error
    except (NoImage, MemoryError):
        raise
    except Exception as error:
        # Decoders raise many types on damaged bytes: OSError, struct.error, zlib.error…
        raise NoImage(f"{type(error).__name__}: {error}") from error


def open_image(
    data: bytes, max_pixels: int | None, formats: tuple[str, ...] | None = None
) -> Image.Image:
    """Open the image in these bytes, in any format that Pillow decodes by itself."""
    # Opening an icon decodes the image within it; others are checked before they decode.
    Image.MAX_IMAGE_PIXELS = max_pixels if data[:4] in _ICONS else None
    return Image.open(io.BytesIO(data), formats=formats or _formats())


def check_pixels(image: Image.Image, max_pixels: int | None) -> None:
    """Raise TooManyPixels if the image is too large; call it before decoding."""
    width, height = image.size
    if max_pixels is not None and width * height > max_pixels:
        raise TooManyPixels(f"{width}x{height} is more than {max_pixels} pixels")
    Image.MAX_IMAGE_PIXELS = max_pixels  # of an image within it


def lowest_frequencies(image: Image.Image, data: bytes) -> Frequencies:
    """Return the frequencies that the hash uses; `data` are the bytes of the image.

    Raise TruncatedImage or NoImage if the data are incomplete, and whatever the decoder raises.
    """
    check_scans(image, data)
    draft = image.draft("L", (_DECODED_SIDE_PX, _DECODED_SIDE_PX))
    size = image.size
    extent = draft[1][2:] if draft else size
    if image.format in JPEGS and image.mode == "L":
        # The same pixels as by Pillow, in less time. On any warning the image is checked again,
        # and Pillow decodes it if the warning is harmless.
        with suppress(ValueError):
            grey = simplejpeg.decode_jpeg(data, "GRAY", min_width=size[0], min_height=size[1])
            return frequencies([grey[:, :, 0]], size, extent)
    load_whole(image, data)
    return frequencies(strips(image), size, extent)


def has_memory_for(width: int, height: int) -> bool:
    """Return whether the memory of the largest decoder can be allocated; it is not touched."""
    try:
        np.empty(_DECODER_BYTES + _PIXEL_BYTES * width * height, np.uint8)
    except MemoryError:
        return False
    return True


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Return the formats that Pillow decodes by itself; it passes EPS to Ghostscript.

    Pillow tries them in this order, so the most frequent come first.
    """
    Image.init()
    first = ("JPEG", "PNG")
    return (*first, *sorted(set(Image.OPEN) - {*first, "EPS"}))


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError):
        return 1  # a damaged EXIF block is ignored
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
