"""Tell which images show the same, and which are documents, without any matcher under trial."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash
from PIL import Image, ImageOps

from imp_data.images.decoding import decode_rgb

Thumbnail = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

_THUMBNAIL_PX = 32
_EXAMINED_PX = 256
# A document has one level (5 of 256 count as one) on much of its area, and equal neighbours on half
# of it. Of 60 photographs 1 has both, of drawn charts, tables, pages, receipts, slides and covers
# all; a scan of uneven light has neither.
_EVEN_SHARE, _LEVEL_SHARE, _LEVELS = 0.5, 0.35, 5
# Crops, frames and turned copies fall below it: it finds copies that agree pixel by pixel.
_AGREEING_CORRELATION, _COARSE_CORRELATION = 0.97, 0.95
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
    by_pixels: dict[int, int] = {}
    first = np.array([by_pixels.setdefault(one.pixels, n) for n, one in enumerate(some)], np.int64)
    photos = np.array([n for n, one in enumerate(some) if not one.document_like], np.int64)
    if len(photos):
        thumbnails = np.stack([some[n].thumbnail for n in photos])
        first[photos] = _group_agreeing(first[photos], thumbnails)
    return [int(n) for n in first]


def _group_agreeing(first: Numbers, thumbnails: Thumbnail) -> Numbers:
    """Join the groups of images whose thumbnails agree; `first` numbers the groups.

    Every pair is compared at 16x16 pixels, and those that may agree at 32x32: a kilobyte an image.
    """
    first, coarse = first.copy(), _normalized(_halved(thumbnails))
    for turned in range(8):
        for begin in range(0, len(first), _ROWS_AT_ONCE):
            block = _turned(thumbnails[begin : begin + _ROWS_AT_ONCE], turned)
            # Later images alone: all orientations of this one are tried on them.
            near = _normalized(_halved(block)) @ coarse[begin:].T >= _COARSE_CORRELATION
            np.fill_diagonal(near, False)
            for row in np.flatnonzero(near.any(axis=1)).tolist():
                place, candidates = begin + row, begin + np.flatnonzero(near[row])
                candidates = candidates[first[candidates] != first[place]]
                if not len(candidates):
                    continue
                others = _normalized(thumbnails[candidates])
                agreeing = others @ _normalized(block[row][None])[0] >= _AGREEING_CORRELATION
                joined = np.append(first[candidates[agreeing]], first[place])
                first[np.isin(first, joined)] = joined.min()
    return first


def _turned(thumbnails: Thumbnail, orientation: int) -> Thumbnail:
    turned = np.rot90(thumbnails, orientation % 4, (1, 2))
    return turned[:, :, ::-1] if orientation >= 4 else turned


def _halved(thumbnails: Thumbnail) -> npt.NDArray[np.uint16]:
    """Return sums of 2x2 pixels."""
    half = _THUMBNAIL_PX // 2
    quads = thumbnails.reshape(len(thumbnails), half, 2, half, 2)
    sums: npt.NDArray[np.uint16] = quads.sum(axis=(2, 4), dtype=np.uint16)
    return sums


def _normalized(some: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return images with mean 0 and length 1, float32[n, pixels]; zeros for an even one."""
    levels = some.reshape(len(some), -1).astype(np.float32)
    levels -= levels.mean(axis=1, keepdims=True)
    length = np.sqrt((levels**2).sum(axis=1, keepdims=True))
    return np.where(length > _THUMBNAIL_PX, levels / np.maximum(length, 1), np.float32(0))
