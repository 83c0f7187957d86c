"""Sample images at affine maps and keep their fine structure, in whole numbers."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.copy_detection.grey import Grey, Numbers

Levels = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

# Levels are quarters of a grey level.
LEVEL_PARTS = 4
# Entries of an affine map are multiples of this, so that coordinates are exact in float64.
MAP_STEP = 2.0**-14
_PIXEL_PARTS = 64
_IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


class Samples(NamedTuple):
    """Levels int32[n, side, side] in quarters, and which of them are of the image."""

    levels: Levels
    inside: Mask


def centred(maps: Numbers) -> Numbers:
    """Return maps [n, 2, 3] between shares of the sides as maps between -1..1, rounded."""
    linear = maps[:, :, :2]
    shift = linear.sum(axis=2) + 2 * maps[:, :, 2] - 1
    return round_maps(np.concatenate([linear, shift[:, :, None]], axis=2))


def round_maps(maps: Numbers) -> Numbers:
    """Round the entries of maps to multiples of MAP_STEP."""
    rounded: Numbers = np.rint(maps / MAP_STEP) * MAP_STEP
    return rounded


def levels_of(greys: Grey, side: int) -> Levels:
    """Return the levels of uint8[n, 64, 64] at a side of 64 or 32 pixels."""
    levels = greys.astype(np.int32)
    if side == greys.shape[-1]:
        return levels * LEVEL_PARTS
    pairs = levels[:, 0::2] + levels[:, 1::2]
    sums: Levels = pairs[:, :, 0::2] + pairs[:, :, 1::2]
    return sums


def sample(
    levels: Levels, maps: Numbers, side: int, every: int = 1, within: Numbers | None = None
) -> Samples:
    """Sample each of int32[n, size, size] at side x side points by its map, bilinearly.

    Every so-many-th point of a row and of a column is taken, from the middle of the first few.
    Points outside take the nearest pixel. `within`, float64[n, 4], is the rectangle (left, top,
    right, bottom) from -1 to 1 that counts as inside; without it, the whole image.
    """
    size = levels.shape[-1]
    if within is None:
        within = np.broadcast_to(np.array([-1.0, -1, 1, 1]), (len(levels), 4))
    points = coordinates(maps, side, every)
    edges = within[:, :, None, None]
    inside: Mask = np.all((points >= edges[:, :2]) & (points <= edges[:, 2:]), axis=1)
    if side != size or every > 1:
        return Samples(_interpolate(levels, points), inside)
    # Most regions are whole images, whose points are their pixels.
    sampled = levels.copy()
    moved = np.flatnonzero((maps != _IDENTITY).any(axis=(1, 2)))
    sampled[moved] = _interpolate(levels[moved], points[moved])
    return Samples(sampled, inside)


def _interpolate(levels: Levels, points: Numbers) -> Levels:
    size = levels.shape[-1]
    fixed = np.floor((points + 1) * (size / 2 * _PIXEL_PARTS) - (_PIXEL_PARTS // 2 - 0.5))
    kept = np.clip(fixed, 0, (size - 1) * _PIXEL_PARTS).astype(np.int32)
    whole, rest = kept >> 6, kept & (_PIXEL_PARTS - 1)
    first = whole[:, 1] * size + whole[:, 0]
    first += (np.arange(len(levels), dtype=np.int32) * size**2)[:, None, None]
    # The pixel past the last column or row has no weight, whatever it is.
    flat = np.concatenate([levels.ravel(), np.zeros(size + 1, np.int32)])
    x, y = rest[:, 0], rest[:, 1]
    top, bottom = (
        (flat.take(place) * _PIXEL_PARTS + (flat.take(place + 1) - flat.take(place)) * x)
        for place in (first, first + size)
    )
    total = top * _PIXEL_PARTS + (bottom - top) * y
    levels = (total + _PIXEL_PARTS**2 // 2) >> 12
    return levels


def coordinates(maps: Numbers, side: int, every: int = 1) -> Numbers:
    """Return where the maps take the centres of side x side pixels, float64[n, 2, side, side]."""
    places = ((2 * np.arange(side) + 1 - side) / side)[every // 2 :: every]
    moves: Numbers = maps[:, :, 0, None, None] * places
    moves = moves + maps[:, :, 1, None, None] * places[:, None]
    moves = moves + maps[:, :, 2, None, None]
    return moves


def fine_structure(levels: Levels, around: int, inside: Mask | None = None) -> Numbers:
    """Return the levels less the mean of around x around pixels, whole numbers in float64.

    Pixels that are not `inside` count for nothing and become 0.
    """
    mask = np.ones(levels.shape[1:], np.bool_)[None] if inside is None else inside
    inner = levels * mask
    found: Numbers = np.rint(inner - _sums(inner, around) / np.maximum(_sums(mask, around), 1))
    return found * mask


def _sums(values: npt.NDArray[Any], around: int) -> npt.NDArray[np.int32]:
    """Return the sums of around x around values at each; beyond the edges is nothing."""
    half = around // 2
    edges = ((0, 0), (half + 1, half), (half + 1, half))
    total = np.pad(values, edges).cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32)
    rows = total[:, around:] - total[:, :-around]
    sums: npt.NDArray[np.int32] = rows[:, :, around:] - rows[:, :, :-around]
    return sums
