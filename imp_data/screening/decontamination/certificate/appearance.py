"""Tell which images show the same, and which are documents, without any matcher under trial."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash
from PIL import Image, ImageOps

from imp_data.images.decoding import decode_rgb

Thumbnail = npt.NDArray[np.uint8]

_THUMBNAIL_PX = 32
_EXAMINED_PX = 256
# A document has one level (5 of 256 count as one) on much of its area, and equal neighbours on half
# of it. Of 60 photographs 1 has both, of drawn charts, tables, pages, receipts, slides and covers
# all; a scan of uneven light has neither.
_EVEN_SHARE, _LEVEL_SHARE, _LEVELS = 0.5, 0.35, 5
# Crops, frames and turned copies fall below it: it finds copies that agree pixel by pixel.
_AGREEING_CORRELATION = 0.97
_ROWS_AT_ONCE = 256


class Appearance(NamedTuple):
    """What tells whether two images show the same.

    `pixels` is the xxh3 of the RGB pixels and their size; `thumbnail` is grey, uint8[32, 32].
    """

    pixels: int
    thumbnail: Thumbnail
    document_like: bool


def examine(data: bytes, max_pixels: int | None = None) -> Appearance:
    """Return the appearance of an image. Raise what `decode_rgb` raises."""
    image = decode_rgb(data, max_pixels)
    digest = xxhash.xxh3_64(str(image.size).encode())
    digest.update(np.asarray(image).tobytes())
    grey = ImageOps.grayscale(image)
    thumbnail = np.asarray(grey.resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.BOX))
    grey.thumbnail((_EXAMINED_PX, _EXAMINED_PX), Image.Resampling.BOX)
    return Appearance(digest.intdigest(), thumbnail, is_document_like(np.asarray(grey)))


def is_document_like(grey: npt.NDArray[np.uint8]) -> bool:
    """Return whether an image is drawn or printed on one colour: a chart, a page, a slide."""
    counts = np.bincount(grey.ravel(), minlength=256)
    level = np.convolve(counts, np.ones(_LEVELS, np.int64)).max() / grey.size
    levels = grey.astype(np.int16)
    if min(grey.shape) < 2:
        return bool(level >= _LEVEL_SHARE)
    even = (np.abs(np.diff(levels, axis=1))[1:] <= 1) & (
        np.abs(np.diff(levels, axis=0))[:, 1:] <= 1
    )
    return bool(level >= _LEVEL_SHARE and even.mean() >= _EVEN_SHARE)


def group_copies(some: Sequence[Appearance]) -> list[int]:
    """Return the first image that shows the same as each: equal pixels, or agreeing thumbnails.

    Thumbnails of photo-like images agree at a correlation of 0.97 in one of the eight
    orientations. Those of documents say little: two pages of text agree.
    """
    first = _Groups(len(some))
    by_pixels: dict[int, int] = {}
    for n, one in enumerate(some):
        first.join(n, by_pixels.setdefault(one.pixels, n))
    photos = [n for n, one in enumerate(some) if not one.document_like]
    for turned in range(8) if photos else ():
        _join_agreeing(first, photos, [some[n].thumbnail for n in photos], turned)
    return [first.of(n) for n in range(len(some))]


class _Groups:
    """Disjoint groups of numbers, each known by its least number."""

    def __init__(self, count: int) -> None:
        self._least = list(range(count))

    def of(self, number: int) -> int:
        while self._least[number] != number:
            self._least[number] = self._least[self._least[number]]
            number = self._least[number]
        return number

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.of(one), self.of(other)))
        self._least[high] = low


def _join_agreeing(
    first: _Groups, places: Sequence[int], thumbnails: Sequence[Thumbnail], turned: int
) -> None:
    shapes = np.stack([_normalized(one) for one in thumbnails])
    images = np.stack([_normalized(_turned(one, turned)) for one in thumbnails])
    for begin in range(0, len(places), _ROWS_AT_ONCE):
        agreeing = images[begin : begin + _ROWS_AT_ONCE] @ shapes.T >= _AGREEING_CORRELATION
        for row, column in np.argwhere(agreeing).tolist():
            first.join(places[begin + row], places[column])


def _turned(thumbnail: Thumbnail, orientation: int) -> Thumbnail:
    turned = np.rot90(thumbnail, orientation % 4)
    return turned[:, ::-1] if orientation >= 4 else turned


def _normalized(thumbnail: Thumbnail) -> npt.NDArray[np.float32]:
    """Return the thumbnail with mean 0 and length 1, float32[1024]; zeros if it is even."""
    levels = thumbnail.ravel().astype(np.float32)
    levels -= levels.mean()
    length = float(np.sqrt((levels**2).sum()))
    return levels / length if length > _THUMBNAIL_PX else np.zeros_like(levels)
