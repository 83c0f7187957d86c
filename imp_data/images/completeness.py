"""Check that data reach the last pixel: some decoders fill missing pixels without an error."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageFile

from imp_data.images.decode_errors import NoImage, TruncatedImage
from imp_data.images.jpeg_completeness import check_jpeg

# MPO is several JPEGs; the first is decoded.
JPEGS = frozenset({"JPEG", "MPO"})
# Pillow decoders that report no missing data. All others raise.
_SILENT = frozenset({"zip", "raw"})
# Initial pixel values: a pixel that differs between two decodings was never decoded.
_INK, _OTHER_INK = 0xA5, 0x00
_ROWS_AT_ONCE = 256
_PNG_HEAD_BYTES = 8
_CHECKED_CHUNKS = frozenset({b"PLTE", b"IDAT"})


def load_whole(image: Image.Image, data: bytes, trusted: bool = False) -> None:
    """Decode an image that was opened from `data`.

    `trusted`: a build has found it complete. Raise TruncatedImage if data end early, NoImage
    if they are damaged, and whatever the decoder raises.
    """
    if trusted or not _fills_silently(image):
        image.load()
        if image.format in JPEGS and not trusted:
            check_jpeg(data)
        return
    if image.format == "PNG":
        check_chunks(data)
    ink = _fill_with(image, _INK)
    image.load()
    if not any(ink == value or ink in _bands(value) for value in _last_pixels(image)):
        return
    with Image.open(io.BytesIO(data), formats=[image.format or ""]) as again:
        _fill_with(again, _OTHER_INK)
        again.load()
        if _differ(image, again):
            raise TruncatedImage("its data end before its last pixel")


def _fills_silently(image: Image.Image) -> bool:
    """Return whether Pillow leaves missing pixels unset without an error; False once decoded."""
    if not isinstance(image, ImageFile.ImageFile):
        return False
    stored = getattr(image, "_tile_size", image.size)  # a TIFF's, before it is turned
    decoders = {tile.codec_name for tile in image.tile}
    return bool(decoders) and decoders <= _SILENT and sorted(stored) == sorted(image.size)


def _fill_with(image: Image.Image, value: int) -> Any:
    """Fill an image that is not decoded yet with one pixel value, and return it."""
    bands = Image.getmodebands(image.mode)
    colour = value if bands == 1 else (value,) * bands
    size = getattr(image, "_tile_size", image.size)
    image.im = Image.new(image.mode, size, colour).im
    return Image.new(image.mode, (1, 1), colour).getpixel((0, 0)) if bands == 1 else value


def _bands(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _last_pixels(image: Image.Image) -> Iterator[Any]:
    """Yield the last pixels in each order: from the top, from the bottom, or interlaced."""
    right, below = image.width - 1, image.height - 1
    odd = (max(right - 1 + right % 2, 0), max(below - 1 + below % 2, 0))
    for x in {0, right, odd[0]}:
        for y in {0, below, odd[1]}:
            yield image.getpixel((x, y))


def _differ(one: Image.Image, other: Image.Image) -> bool:
    for top in range(0, one.height, _ROWS_AT_ONCE):
        box = (0, top, one.width, min(top + _ROWS_AT_ONCE, one.height))
        if one.crop(box).tobytes() != other.crop(box).tobytes():
            return True
    return False


def check_chunks(data: bytes) -> None:
    """Raise NoImage if the checksum of a PNG's pixels or palette is wrong.

    Pillow checks the chunks before the pixels, but not these.
    """
    place = _PNG_HEAD_BYTES
    while place + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + size
        if end + 4 > len(data) or kind == b"IEND":
            return
        if kind in _CHECKED_CHUNKS:
            stated = int.from_bytes(data[end : end + 4], "big")
            if zlib.crc32(memoryview(data)[place + 4 : end]) != stated:
                raise NoImage(f"the checksum of its chunk {kind.decode()} at byte {place} is wrong")
        place = end + 4
