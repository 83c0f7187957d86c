"""Exact nearest-neighbour search by the Hamming distance of 64-bit hashes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.bands import Hashes, Places, choose_bands, near_masks, split_bands
from imp_data.images.buckets import NONE_NEAR, DistinctHashes, distinct_hashes, rank_nearest

# Distances computed at once; keeps the working set within a core's cache.
_BLOCK_PAIRS = 1 << 15
_BANDS = 4
BAND_BITS = 16
# Beyond either, an index takes hundreds of MiB: buckets are compared instead.
_MOST_INDEXED_BITS = 11
_MOST_INDEXED = 1 << 16
# The cost of a pair found by the index, in pairs of a block of buckets; and below how many pairs
# it is not worth asking whether buckets cost less.
_INDEXED_PAIR_COST = 8
_FEW_PAIRS = 1 << 26
_NONE_NEAR = 255


__all__ = [
    "BAND_BITS",
    "Hashes",
    "Index",
    "Nearest",
    "Places",
    "band_keys",
    "band_radii",
    "build_index",
    "find_nearest",
    "find_nearest_within",
    "key_bounds",
    "masks",
    "no_neighbours",
    "runs",
]


class Nearest(NamedTuple):
    """The nearest reference to each query: its distance in bits, and its place."""

    distance_bits: npt.NDArray[np.uint8]
    place: Places


class Band(NamedTuple):
    """References by the keys near their own: key k has `places[bounds[k]:bounds[k+1]]`."""

    number: int
    places: npt.NDArray[np.unsignedinteger[Any]]
    bounds: Places


class Index(NamedTuple):
    """References prepared for `find_nearest_within`: 25 MiB for 28,408 of them at 10 bits.

    More than 65,536 have no `bands`, and take 24 bytes each.
    """

    references: Hashes
    max_bits: int
    bands: tuple[Band, ...]
    distinct: DistinctHashes


def find_nearest(queries: Hashes, references: Hashes) -> Nearest:
    """Return the nearest reference to each query; the first of equally near ones.

    Every pair is compared, so recall is 1 by construction. Without references the distance is 255.
    """
    distance, place = no_neighbours(len(queries))
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


def no_neighbours(count: int) -> Nearest:
    """Return the result of `count` queries without references."""
    return Nearest(np.full(count, _NONE_NEAR, np.uint8), np.zeros(count, np.int64))


def build_index(references: Hashes, max_bits: int) -> Index:
    """Index references so that a query reads only those that may be within `max_bits`."""
    distinct = distinct_hashes(references)
    if max_bits > _MOST_INDEXED_BITS or len(references) > _MOST_INDEXED:
        return Index(references, max_bits, (), distinct)
    bands = [_band(references, n, radius) for n, radius in band_radii(max_bits)]
    return Index(references, max_bits, tuple(bands), distinct)


def _band(references: Hashes, number: int, radius: int) -> Band:
    """Fill the band mask by mask: sorting all keys at once would take ten times the memory."""
    keys = band_keys(references, number)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    own, first, count = np.unique(keys, return_index=True, return_counts=True)
    rank = np.arange(len(keys)) - np.repeat(first, count)
    free = np.zeros((1 << BAND_BITS) + 1, np.int64)
    near = masks(radius)
    for mask in near:
        free[(own ^ mask).astype(np.int64) + 1] += count
    bounds = np.cumsum(free, out=free).copy()
    places = np.empty(bounds[-1], np.min_scalar_type(len(keys)))
    for mask in near:
        places[free[keys ^ mask] + rank] = order
        free[own ^ mask] += count
    return Band(number, places, bounds)


def find_nearest_within(queries: Hashes, index: Index) -> Nearest:
    """Return the nearest reference within the index's distance; 255 where none is."""
    if index.bands and _suits(index, queries):
        best = _rank_indexed(queries, index)
    else:
        best = rank_nearest(queries, index.distinct, index.max_bits)
    return Nearest((best >> 32).astype(np.uint8), best & 0xFFFFFFFF)


def _suits(index: Index, queries: Hashes) -> bool:
    """Return whether the index finds fewer pairs than cost as much as comparing buckets.

    Where hashes cluster, it may find many times as many as elsewhere.
    """
    pairs = 0
    for band in index.bands:
        keys = band_keys(queries, band.number).astype(np.int64)
        pairs += int((band.bounds[keys + 1] - band.bounds[keys]).sum())
    if pairs <= _FEW_PAIRS:
        return True
    cost, _ = choose_bands(queries, index.distinct.hashes, index.max_bits)
    return pairs * _INDEXED_PAIR_COST <= cost


def _rank_indexed(queries: Hashes, index: Index) -> Places:
    # Distance above place in one number: the minimum is the nearest, then the first.
    best = np.full(len(queries), NONE_NEAR, np.int64)
    for band in index.bands:
        keys = band_keys(queries, band.number)
        first, until = band.bounds[keys], band.bounds[keys.astype(np.int64) + 1]
        for query, entry in runs(first, until - first):
            place = band.places[entry]
            bits = np.bitwise_count(queries[query] ^ index.references[place])
            near = np.flatnonzero(bits <= index.max_bits)
            ranked = (bits[near].astype(np.int64) << 32) | place[near]
            np.minimum.at(best, query[near], ranked)
    return best


def band_radii(max_bits: int) -> list[tuple[int, int]]:
    """Return (band, radius) for the bands of 16 bits that are needed: see `split_bands`."""
    bands = split_bands(_BANDS, max_bits)
    return [(band.first_bit // BAND_BITS, band.radius) for band in bands]


def masks(radius: int) -> npt.NDArray[np.uint16]:
    """Return all 16-bit numbers with at most `radius` set bits, 0 first."""
    return near_masks(BAND_BITS, radius).astype(np.uint16)


def band_keys(hashes: Hashes, band: int) -> npt.NDArray[np.uint16]:
    """Return the 16 bits of each hash that are its key in the band."""
    return (hashes >> np.uint64(BAND_BITS * band)).astype(np.uint16)


def key_bounds(keys: npt.NDArray[np.uint16]) -> Places:
    """Return the first place of each key in the sorted keys, then their end: 65,537 places."""
    counts = np.bincount(keys, minlength=1 << BAND_BITS)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def runs(first: Places, count: Places) -> Iterator[tuple[Places, Places]]:
    """Yield (row, entry) for each row's run of entries, as many rows at once as fit a block."""
    ends = np.cumsum(count)
    begin = 0
    while begin < len(count):
        done = ends[begin - 1] if begin else 0
        until = max(int(np.searchsorted(ends, done + _BLOCK_PAIRS, "right")), begin + 1)
        some = count[begin:until]
        shift = first[begin:until] - (ends[begin:until] - some - done)
        total = int(ends[until - 1] - done)
        yield (
            np.repeat(np.arange(begin, until), some),
            np.repeat(shift, some) + np.arange(total),
        )
        begin = until
