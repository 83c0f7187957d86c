"""Describe the image in a file's bytes for copy detection."""

from contextlib import suppress

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from imp_data.images.completeness import JPEGS, load_whole
from imp_data.images.copy_detection.features import ImageFeatures, describe_image
from imp_data.images.decode_errors import NoImage, TooManyPixels
from imp_data.images.decoding import check_pixels, open_image, without_warnings
from imp_data.images.jpeg_completeness import check_scans
from imp_data.images.phash import strips

# JPEGs are decoded at 1/2, 1/4 or 1/8 scale where both sides stay this long.
DECODED_SIDE_PX = 120


def describe_bytes(data: bytes, max_pixels: int | None = None) -> ImageFeatures:
    """Decode an image of any format, JPEGs at a reduced scale, and describe it.

    It is described as stored: variants find the copies that an EXIF orientation turns. Raise
    NoImage if it does not decode completely, TooManyPixels beyond `max_pixels`, MemoryError.
    """
    try:
        with without_warnings(), open_image(data, max_pixels) as image:
            check_pixels(image, max_pixels)
            check_scans(image, data)
            return _describe(image, data)
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"holds an image of more than {max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        raise NoImage("no image format that is read here") from error
    except (NoImage, MemoryError):
        raise
    except Exception as error:
        # Decoders raise many types on damaged bytes: OSError, struct.error, zlib.error…
        raise NoImage(f"{type(error).__name__}: {error}") from error


def _describe(image: Image.Image, data: bytes) -> ImageFeatures:
    draft = image.draft("L", (DECODED_SIDE_PX, DECODED_SIDE_PX))
    size = image.size
    extent = draft[1][2:] if draft else size
    if image.format in JPEGS and image.mode == "L":
        # On any warning Pillow decodes it, if the warning is harmless (decoding).
        with suppress(ValueError):
            grey = simplejpeg.decode_jpeg(data, "GRAY", min_width=size[0], min_height=size[1])
            return describe_image(grey[:, :, 0], extent)
    load_whole(image, data)
    return describe_image(np.concatenate(list(strips(image))), extent)
