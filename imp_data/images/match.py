"""Exact search for pictures that look alike: Hamming distance of 64-bit hashes."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

# Distances computed at once; keeps the working set within a core's cache.
_BLOCK_PAIRS = 1 << 18


class Nearest(NamedTuple):
    """For each query the nearest reference: its distance in bits, and its place."""

    distance_bits: npt.NDArray[np.uint8]
    place: npt.NDArray[np.int64]


def nearest(queries: Hashes, references: Hashes) -> Nearest:
    """The nearest of `references` to each of `queries`; of equally near ones the first.

    Every pair is compared, so recall is 1 by construction. Without references the distance is 255.
    """
    distance = np.full(len(queries), 255, np.uint8)
    place = np.zeros(len(queries), np.int64)
    if not len(references):
        return Nearest(distance, place)
    step = max(_BLOCK_PAIRS // len(references), 1)
    for begin in range(0, len(queries), step):
        block = queries[begin : begin + step, None]
        bits = np.bitwise_count(block ^ references[None, :])
        best = bits.argmin(axis=1)
        place[begin : begin + step] = best
        distance[begin : begin + step] = bits[np.arange(len(best)), best]
    return Nearest(distance, place)
