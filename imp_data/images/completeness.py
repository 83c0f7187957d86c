"""Whether data reach the last pixel of an image: some decoders fill up missing ones in silence."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageFile

from imp_data.images.jpeg_completeness import check_jpeg
from imp_data.images.refusals import CutShort, NoImage

# MPO is several JPEGs, of which the first is decoded.
JPEGS = frozenset({"JPEG", "MPO"})
# Pillow's decoders that end without a word. All others tell of missing data.
_SILENT = frozenset({"zip", "raw"})
# What pixels are before they are decoded: by two such values it shows which of them never are.
_INK, _OTHER_INK = 0xA5, 0x00
_ROWS_AT_ONCE = 256
_PNG_HEAD_BYTES = 8
_CHECKED_CHUNKS = frozenset({b"PLTE", b"IDAT"})


def load_whole(image: Image.Image, data: bytes, trusted: bool = False) -> None:
    """Decode an image that was opened from `data`.

    `trusted`: a build has found it whole. Raises CutShort where data end early, NoImage where they
    are damaged, and whatever its decoder raises.
    """
    if trusted or not _ends_in_silence(image):
        image.load()
        if image.format in JPEGS and not trusted:
            check_jpeg(data)
        return
    if image.format == "PNG":
        check_chunks(data)
    ink = _inked(image, _INK)
    image.load()
    if not any(ink == value or ink in _bands(value) for value in _last_pixels(image)):
        return
    with Image.open(io.BytesIO(data), formats=[image.format or ""]) as again:
        _inked(again, _OTHER_INK)
        again.load()
        if _differ(image, again):
            raise CutShort("its data end before its last pixel")


def _ends_in_silence(image: Image.Image) -> bool:
    """Whether Pillow would leave pixels as they were without a word; not if it is decoded."""
    if not isinstance(image, ImageFile.ImageFile):
        return False
    stored = getattr(image, "_tile_size", image.size)  # a TIFF's, before it is turned
    decoders = {tile.codec_name for tile in image.tile}
    return bool(decoders) and decoders <= _SILENT and sorted(stored) == sorted(image.size)


def _inked(image: Image.Image, value: int) -> Any:
    """Give an image that is not decoded yet pixels of one value, which is returned."""
    bands = Image.getmodebands(image.mode)
    colour = value if bands == 1 else (value,) * bands
    size = getattr(image, "_tile_size", image.size)
    image.im = Image.new(image.mode, size, colour).im
    return Image.new(image.mode, (1, 1), colour).getpixel((0, 0)) if bands == 1 else value


def _bands(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _last_pixels(image: Image.Image) -> Iterator[Any]:
    """The pixels that come last: from the top, from the bottom, or interlaced (every other row)."""
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
    """Raise NoImage where a PNG's pixels or palette do not have the checksum stated of them.

    Pillow holds its own against the chunks before the pixels, not against these.
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
