"""Reduce an image to small squares of grey, with the same result on every processor."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Grey = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]

SIDE_PX = 128
THUMBNAIL_PX = 64


def reduce_grey(grey: Image.Image | Grey, extent: tuple[float, float] | None = None) -> Grey:
    """Return the area means of a grey image of any size, uint8[128, 128]; aspect is lost.

    `extent` is the part, (width, height) in pixels, that is image: the last column or row of a
    reduced JPEG may cover less than a pixel. Pillow computes in whole numbers.
    """
    image = grey if isinstance(grey, Image.Image) else Image.fromarray(grey)
    box = (0, 0, *(extent or image.size))
    return np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX, box=box))


def halve(grey: Grey) -> Grey:
    """Return the means of 2x2 pixels, rounded half up."""
    pairs = grey.astype(np.uint16)
    pairs = pairs[0::2] + pairs[1::2]
    means: Grey = ((pairs[:, 0::2] + pairs[:, 1::2] + 2) >> 2).astype(np.uint8)
    return means


def deviation(grey: Grey) -> float:
    """Return the standard deviation in grey levels of 255, rounded to a tenth."""
    values = grey.ravel().astype(np.int64)
    total, squares, count = int(values.sum()), int(values @ values), values.size
    return round(math.sqrt(squares * count - total * total) / count, 1)


def area_weights(begin: float, end: float, cells: int, length: int) -> Numbers:
    """Return the share of each of `length` pixels in the mean of each cell, float64[cells, length].

    The cells divide the span from `begin` to `end`, in shares of the length. Pixels beyond the
    image have no weight, so the sum of a row is the share of its cell that is image.
    """
    edges = (begin + (end - begin) * np.arange(cells + 1) / cells) * length
    pixel = np.arange(length)
    low, high = np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:])
    inside = np.minimum(high[:, None], pixel + 1) - np.maximum(low[:, None], pixel)
    weights: Numbers = np.maximum(inside, 0) / (high - low)[:, None]
    return weights


def whole_numbers(matrix: Numbers, scale: int) -> Numbers:
    """Return the matrix times `scale`, rounded: whole numbers in float64.

    Products and sums of whole numbers below 2**53 are exact in float64, in whatever order a
    processor's library adds them; so are hashes and scores that are made of them.
    """
    rounded: Numbers = np.rint(matrix * scale)
    return rounded


def stack_greys(greys: Sequence[Grey]) -> Grey:
    """Return uint8[n, side, side]; an empty array for none."""
    return np.stack(greys) if greys else np.empty((0, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
