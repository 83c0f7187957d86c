"""Align pairs of thumbnails by an affine map, a gain and a bias: Gauss-Newton steps."""

import numpy as np

from imp_data.images.copy_detection.grey import Grey, Numbers
from imp_data.images.copy_detection.sampling import (
    Levels,
    Mask,
    fine_structure,
    levels_of,
    round_maps,
    sample,
)

# Pixels a side, steps, and the pixels around each whose mean is taken from it.
_ROUNDS = ((32, 6, 15), (64, 1, 15))
_POINTS = 32
_MOST_WEIGHT = 16
# A step moves no point by more than this share of half a side: further steps are guesses.
_LONGEST_STEP = 0.25


def register(queries: Grey, inside: Numbers, references: Grey, starts: Numbers) -> Numbers:
    """Return the maps float64[n, 2, 3] from the query's region to its reference.

    `queries` and `references` are uint8[n, 64, 64]; `inside` maps the region to the query, and
    `starts` maps it to the reference where the search begins; all between coordinates from -1 to
    1 (`sampling.centred`). The steps are inverse compositional (Baker and Matthews, 2004): the
    gradients are those of the query. Every sum is of whole numbers below 2**53, and maps are
    rounded after each step, so that all processors find the same map.
    """
    maps = starts
    for side, steps, around in _ROUNDS:
        template = fine_structure(sample(levels_of(queries, side), inside, side).levels, around)
        other = fine_structure(levels_of(references, side), around).astype(np.int32)
        # Of the finer round, a quarter of the pixels is enough.
        every = side // _POINTS
        columns = _columns(template, every)
        points = template[:, every // 2 :: every, every // 2 :: every]
        for _ in range(steps):
            maps = _step(maps, columns, points, other)
    return maps


def _columns(template: Numbers, every: int) -> Numbers:
    """Return what the levels change by, float64[n, 8, points]: six of the map, gain and bias."""
    side = template.shape[-1]
    across = np.zeros_like(template)
    down = np.zeros_like(template)
    across[:, :, 1:-1] = template[:, :, 2:] - template[:, :, :-2]
    down[:, 1:-1] = template[:, 2:] - template[:, :-2]
    some = (slice(None), slice(every // 2, None, every), slice(every // 2, None, every))
    place = np.arange(1 - side, side, 2, dtype=np.float64)[every // 2 :: every]
    columns = np.empty((len(template), 8, len(place), len(place)))
    for first, slope in ((0, across[some]), (3, down[some])):
        columns[:, first] = slope * place
        columns[:, first + 1] = slope * place[:, None]
        columns[:, first + 2] = slope
    columns[:, 6], columns[:, 7] = template[some], 1
    return columns.reshape(len(template), 8, -1)


def _step(maps: Numbers, columns: Numbers, template: Numbers, references: Levels) -> Numbers:
    side = references.shape[-1]
    some, inside = sample(references, maps, side, side // _POINTS)
    levels = some.astype(np.float64)
    weights = _weights(levels, template, inside).reshape(len(maps), 1, -1)
    weighted = columns * weights
    products = weighted @ columns.transpose(0, 2, 1)
    targets = (weighted @ levels.reshape(len(maps), -1, 1))[:, :, 0]
    found = solve(products, targets)
    gain = found[:, 6]
    gain = np.where(np.abs(gain) < 1 / 8, 1, gain)
    moves = 4 * found[:, :6].reshape(-1, 2, 3) / gain[:, None, None]
    moves[:, :, 2] /= side
    moves = np.clip(moves, -_LONGEST_STEP, _LONGEST_STEP)
    return round_maps(_compose_inverse(maps, moves))


def _weights(levels: Numbers, template: Numbers, inside: Mask) -> Numbers:
    """Return whole weights, 0 to 16, float64[n, side, side]: less where the two images differ.

    Cauchy's weights at the middle difference, of levels brought to equal mean and deviation.
    """
    count = np.maximum(inside.sum(axis=(1, 2)), 1)
    both = []
    for some in (template, levels):
        inner = some * inside
        total, squares = inner.sum(axis=(1, 2)), (inner * inner).sum(axis=(1, 2))
        spread = np.sqrt(np.maximum(squares * count - total * total, 1)) / count
        both.append((some - (total / count)[:, None, None]) / spread[:, None, None])
    off = np.abs(both[0] - both[1])
    flat = np.where(inside, off, 0).reshape(len(off), -1)
    middle = np.partition(flat, flat.shape[1] // 2, axis=1)[:, flat.shape[1] // 2]
    scale = 2 * np.maximum(middle, 1 / 16)[:, None, None]
    found: Numbers = np.rint(_MOST_WEIGHT / (1 + (off / scale) ** 2)) * inside
    return found


def _compose_inverse(maps: Numbers, moves: Numbers) -> Numbers:
    """Return each map after the inverse of (identity + move)."""
    a, b, c = 1 + moves[:, 0, 0], moves[:, 0, 1], moves[:, 0, 2]
    d, e, f = moves[:, 1, 0], 1 + moves[:, 1, 1], moves[:, 1, 2]
    size = a * e - b * d
    inverse = np.stack([e, -b, b * f - e * c, -d, a, d * c - a * f], axis=1)
    inverse = (inverse / size[:, None]).reshape(-1, 2, 3)
    out = np.empty_like(maps)
    for row in (0, 1):
        x, y, shift = maps[:, row, 0], maps[:, row, 1], maps[:, row, 2]
        out[:, row] = x[:, None] * inverse[:, 0] + y[:, None] * inverse[:, 1]
        out[:, row, 2] += shift
    return out


def solve(matrices: Numbers, targets: Numbers) -> Numbers:
    """Solve symmetric systems [n, k, k] and [n, k]; zero what they do not determine.

    Elimination one operation after another, because libraries order them by the processor.
    """
    size = matrices.shape[1]
    left, right = matrices.copy(), targets.copy()
    scale = np.maximum(left[:, range(size), range(size)], 1)
    for row in range(size):
        pivot = left[:, row, row]
        known = pivot > scale[:, row] * 1e-9
        left[:, row, row] = np.where(known, pivot, np.inf)
        factors = left[:, row + 1 :, row] / left[:, row, row, None]
        upper = np.where(known[:, None], left[:, row, row:], 0)
        left[:, row + 1 :, row:] -= factors[:, :, None] * upper[:, None]
        right[:, row + 1 :] -= factors * right[:, row, None]
    found = np.zeros_like(targets)
    for row in reversed(range(size)):
        rest = right[:, row].copy()
        for after in range(row + 1, size):
            rest -= left[:, row, after] * found[:, after]
        found[:, row] = rest / left[:, row, row]
    return found
