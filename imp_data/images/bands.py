"""Split 64-bit hashes into bands of key bits, in one of which near hashes have near keys."""

from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_HASH_BITS = 64
# Wider keys find fewer pairs, but at 16 bits a band already has 65,536 buckets to visit.
_BANDS_TRIED = (4, 5, 6, 7, 8)
# Costs of a bucket, of each bucket near it, and of each reference in these: in pairs of a block,
# of which a core compares 10^9 a second.
_KEY_COST, _NEAR_KEY_COST, _COPY_COST = 60_000, 600, 3


class KeyBand(NamedTuple):
    """A key of `width_bits` from bit `first_bit` on; `radius` of them may differ."""

    first_bit: int
    width_bits: int
    radius: int


# One bucket for all hashes.
ALL_PAIRS = KeyBand(0, 0, 0)


def split_bands(count: int, max_bits: int) -> list[KeyBand]:
    """Split hashes into bands: those within `max_bits` are within the radius in at least one band.

    Two that are further apart than the radius in every band differ by sum(radius + 1) =
    max_bits + 1 bits or more. A band of radius -1 is not needed.
    """
    edges = [_HASH_BITS * n // count for n in range(count + 1)]
    radii = [(max_bits + 1 + n) // count - 1 for n in range(count)]
    return [
        KeyBand(edges[n], edges[n + 1] - edges[n], radius)
        for n, radius in enumerate(radii)
        if radius >= 0
    ]


@lru_cache(maxsize=64)
def near_masks(width_bits: int, radius: int) -> Places:
    """Return all numbers of this width with at most `radius` set bits, 0 first."""
    chosen = (c for n in range(radius + 1) for c in combinations(range(width_bits), n))
    return np.array([sum(1 << bit for bit in bits) for bits in chosen], np.int64)


def key_counts(hashes: Hashes, band: KeyBand) -> Places:
    """Return the number of hashes of each key."""
    return np.bincount(keys_in(hashes, band), minlength=1 << band.width_bits)


def keys_in(hashes: Hashes, band: KeyBand) -> npt.NDArray[np.uint16]:
    """Return the key of each hash in a band of at most 16 bits."""
    low = np.uint64((1 << band.width_bits) - 1)
    return ((hashes >> np.uint64(band.first_bit)) & low).astype(np.uint16)


def choose_bands(queries: Hashes, references: Hashes, max_bits: int) -> tuple[float, list[KeyBand]]:
    """Return the cost in pairs of the best split for these hashes, and its bands.

    The pairs are counted, so clusters are no surprise. Where every split costs more than to compare
    all pairs, the split is that.
    """
    best = (float(len(queries)) * len(references), [ALL_PAIRS])
    for count in _BANDS_TRIED:
        # Nothing is cheaper than to visit each key, and counting for a split costs as much.
        bands = split_bands(count, max_bits)
        if sum(_KEY_COST << band.width_bits for band in bands) < best[0]:
            cost = sum(_band_cost(queries, references, band) for band in bands)
            best = min(best, (cost, bands))
    return best


def _band_cost(queries: Hashes, references: Hashes, band: KeyBand) -> float:
    counts = key_counts(queries, band)
    keys = np.flatnonzero(counts)
    masks = near_masks(band.width_bits, band.radius)
    there = key_counts(references, band)
    near = np.zeros(len(keys), np.int64)
    for mask in masks.tolist():
        near += there[keys ^ mask]
    visits = float(len(keys)) * (_KEY_COST + _NEAR_KEY_COST * len(masks))
    return float(counts[keys].astype(np.float64) @ near) + _COPY_COST * float(near.sum()) + visits
