"""Two 64-bit hashes of a region of an image: of its low frequencies, and of its blocks."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.copy_detection.grey import Grey, Numbers, area_weights, whole_numbers

Hashes = npt.NDArray[np.uint64]

_SAMPLES, _LOWEST = 32, 8
_COSINES = np.cos(np.pi / 2 / _SAMPLES * np.outer(np.arange(_LOWEST), 2 * np.arange(_SAMPLES) + 1))
_SCALE = 1 << 12
_PADDED = np.array([0, *range(_LOWEST), _LOWEST - 1])


class Region(NamedTuple):
    """A rectangle in shares of the image's sides; left > right mirrors, values may be outside."""

    left: float
    top: float
    right: float
    bottom: float


WHOLE = Region(0, 0, 1, 1)


def region_hashes(
    greys: Grey, region: Region, fill: int = 0, transposed: bool = False
) -> tuple[Hashes, Hashes]:
    """Return (phash, block hash) of one region of each grey, uint8[n, side, side].

    What is outside an image has the level `fill`. `transposed` exchanges rows and columns of the
    region. The phash is like imagehash's, by area means in place of Lanczos' filter.
    """
    levels = greys.astype(np.float64)
    if fill:
        levels -= fill
    across = _matrix(region.left, region.right, greys.shape[-1])
    down = _matrix(region.top, region.bottom, greys.shape[-1])
    both = down @ levels @ across.T
    if transposed:
        both = both.transpose(0, 2, 1)
    frequencies = both[:, :_LOWEST, :_LOWEST]
    bits = (_frequency_bits(frequencies, fill), _block_bits(both[:, _LOWEST:, _LOWEST:]))
    return _pack(bits[0]), _pack(bits[1])


@lru_cache(maxsize=4096)
def _matrix(begin: float, end: float, side: int) -> Numbers:
    """Return the matrix of one axis, [16, side]: 8 frequencies of 32 samples, then 8 blocks."""
    frequencies = _COSINES @ area_weights(begin, end, _SAMPLES, side)
    blocks = area_weights(begin, end, _LOWEST, side)
    return whole_numbers(np.concatenate([frequencies, blocks]), _SCALE)


def _frequency_bits(frequencies: Numbers, fill: int) -> npt.NDArray[np.bool_]:
    """Compare each of the 8x8 lowest frequencies with their median."""
    lowest = frequencies.reshape(len(frequencies), _LOWEST**2)
    lowest[:, 0] += fill * (_SCALE * _SAMPLES) ** 2
    ordered = np.sort(lowest, axis=1)
    middle = ordered[:, _LOWEST**2 // 2 - 1] + ordered[:, _LOWEST**2 // 2]
    bits: npt.NDArray[np.bool_] = 2 * lowest > middle[:, None]
    return bits


def _block_bits(blocks: Numbers) -> npt.NDArray[np.bool_]:
    """Compare each block with the mean of its 3x3 neighbourhood: a difference of Gaussians.

    Beyond the edge, the edge's own blocks count once more.
    """
    around = blocks[:, _PADDED][:, :, _PADDED]
    rows = around[:, :-2] + around[:, 1:-1] + around[:, 2:]
    sums = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    bits: npt.NDArray[np.bool_] = (9 * blocks > sums).reshape(len(blocks), _LOWEST**2)
    return bits


def _pack(bits: npt.NDArray[np.bool_]) -> Hashes:
    """Return unsigned 64-bit numbers, the first bit highest."""
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
