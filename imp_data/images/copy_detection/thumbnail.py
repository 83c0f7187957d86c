"""Store 64x64 grey pixels in some 600 bytes: a JPEG without the headers that all share."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import simplejpeg

from imp_data.images.copy_detection.grey import THUMBNAIL_PX, Grey

# The first quality whose data fit is taken; its place is the first byte. A photograph takes 580
# bytes on average at the first.
_QUALITIES = (40, 20, 10, 1)
_MOST_BYTES = 900
_END_OF_IMAGE = b"\xff\xd9"


def encode_thumbnail(grey: Grey) -> bytes:
    """Return the place of the quality, then the entropy-coded data of the JPEG of uint8[64, 64]."""
    return next(data for data in _encodings(grey) if len(data) <= _MOST_BYTES)


def _encodings(grey: Grey) -> Iterator[bytes]:
    for place, quality in enumerate(_QUALITIES):
        data = _encode(grey, quality)[len(_headers(quality)) : -len(_END_OF_IMAGE)]
        yield bytes([place]) + data


def decode_thumbnail(data: bytes) -> Grey:
    """Return uint8[64, 64]; raise ValueError if the bytes are no thumbnail."""
    if not data or data[0] >= len(_QUALITIES):
        raise ValueError("the thumbnail begins with no known quality")
    whole = _headers(_QUALITIES[data[0]]) + data[1:] + _END_OF_IMAGE
    decoded = simplejpeg.decode_jpeg(whole, "GRAY", fastdct=False)
    grey: Grey = decoded[:, :, 0]
    return grey


def _encode(grey: Grey, quality: int) -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(grey)[:, :, None], quality, "GRAY", "Gray", fastdct=False
    )
    return encoded


@cache
def _headers(quality: int) -> bytes:
    """Return all bytes before the entropy-coded data; equal for every thumbnail of a quality."""
    empty = _encode(np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8), quality)
    start = empty.index(b"\xff\xda")
    return empty[: start + 2 + int.from_bytes(empty[start + 2 : start + 4])]
