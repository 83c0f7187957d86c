"""Score aligned pairs by local correlation of their fine structure."""

import numpy as np
import numpy.typing as npt

from imp_data.images.copy_detection.boxes import Box
from imp_data.images.copy_detection.grey import SIDE_PX, THUMBNAIL_PX, Grey, Numbers
from imp_data.images.copy_detection.sampling import (
    LEVEL_PARTS,
    Levels,
    fine_structure,
    levels_of,
    sample,
)

# Structure coarser than so many pixels is light and shade, which unlike photographs share.
_AROUND_PX = 13
# Windows of 8x8 pixels at every fourth; one half outside does not count.
_STEP_PX, _LEAST_PIXELS = 4, 32
# Of a window, the greater deviation is at most so many times the lesser before it counts less.
_FREE_CONTRAST = 1.5
# A window of this deviation, in grey levels, has half the weight of one of great contrast.
_HALF_WEIGHT_LEVELS = 1.0
# Of 225 windows; fewer have a lower score in proportion: little structure agrees by chance.
_ENOUGH_WINDOWS = 64
_PARTS = 1 << 20
_DECIMALS = 2


def score_pairs(
    queries: Grey,
    inside: Numbers,
    references: Grey,
    maps: Numbers,
    within: tuple[list[Box], list[Box]],
) -> Numbers:
    """Return the score of each pair, -1 to 1 in two decimals, float64[n].

    `queries` and `references` are uint8[n, 64, 64]; `inside` and `maps` map the same region to
    them (`register`). Of both, what is outside the boxes `within` does not count, so that equal
    frames do not make equal images. The score is the mean correlation of windows: less where their
    contrasts differ, with the weight of the fainter of the two.

    The numbers are whole up to the variances, and again from the weighted terms on; what is
    between is single operations that IEEE 754 defines. So the score depends on no processor.
    """
    both = [
        sample(
            _smooth(levels_of(greys, THUMBNAIL_PX)),
            places,
            THUMBNAIL_PX,
            within=_inner(boxes),
        )
        for greys, places, boxes in (
            (queries, inside, within[0]),
            (references, maps, within[1]),
        )
    ]
    mask = both[0].inside & both[1].inside
    one, other = (fine_structure(some.levels, _AROUND_PX, mask) for some in both)
    count = _window_sums(mask.astype(np.float64))
    first, second = _window_sums(one), _window_sums(other)
    # Each times the square of the count.
    variance = count * _window_sums(one * one) - first * first
    other_variance = count * _window_sums(other * other) - second * second
    covariance = count * _window_sums(one * other) - first * second
    return _weighted_mean(count, variance, other_variance, covariance)


def _weighted_mean(
    count: Numbers, variance: Numbers, other_variance: Numbers, covariance: Numbers
) -> Numbers:
    used = count >= _LEAST_PIXELS
    size = np.maximum(count, 1)
    deviation, other_deviation = np.sqrt(variance) / size, np.sqrt(other_variance) / size
    total, other_total = (_total(some**2 * used) for some in (deviation, other_deviation))
    gain = np.sqrt(total / np.maximum(other_total, 1))[:, None, None]
    other_deviation = other_deviation * gain
    correlation = covariance / np.maximum(np.sqrt(variance) * np.sqrt(other_variance), 1)
    greater = np.maximum(deviation, other_deviation)
    lesser = np.minimum(deviation, other_deviation)
    value = np.minimum(correlation, _FREE_CONTRAST * lesser / np.maximum(greater, 1))
    mean = np.sqrt(total / _PARTS / np.maximum(used.sum(axis=(1, 2)), 1))[:, None, None]
    middle = np.sqrt(lesser * greater)
    weight = middle / (middle + mean + _HALF_WEIGHT_LEVELS * LEVEL_PARTS) * used
    score = _total(value * weight) / np.maximum(_total(weight), 1)
    score *= np.minimum(used.sum(axis=(1, 2)) / _ENOUGH_WINDOWS, 1)
    found: Numbers = np.round(score, _DECIMALS) + 0.0
    return found


def _total(values: Numbers) -> Numbers:
    """Return the sums of [n, windows, windows] in 1 / _PARTS, exact."""
    total: Numbers = np.rint(values * _PARTS).sum(axis=(1, 2))
    return total


def _inner(boxes: list[Box]) -> Numbers:
    """Return the boxes from -1 to 1; sides that are not the image's a line further in."""
    edges = np.array(boxes, np.float64)
    line = np.array([1, 1, -1, -1]) * ((edges > 0) & (edges < SIDE_PX))
    inner: Numbers = (edges + 2 * line) / (SIDE_PX / 2) - 1
    return inner


def _smooth(levels: Levels) -> Levels:
    """Return the levels after a binomial filter of 3x3: copies differ in sharpness."""
    around = np.pad(levels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = around[:, :-2] + 2 * around[:, 1:-1] + around[:, 2:]
    smoothed: Levels = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:] + 8) >> 4
    return smoothed


def _window_sums(values: npt.NDArray[np.float64]) -> Numbers:
    """Return the sums of 8x8 windows at every fourth pixel, [n, 15, 15]."""
    cells = THUMBNAIL_PX // _STEP_PX
    blocks = values.reshape(-1, cells, _STEP_PX, cells, _STEP_PX).sum(axis=(2, 4))
    rows = blocks[:, :-1] + blocks[:, 1:]
    sums: Numbers = rows[:, :, :-1] + rows[:, :, 1:]
    return sums
