"""Find all pairs of near hashes, and the clusters that the pairs connect."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.hamming import (
    BAND_BITS,
    Hashes,
    Places,
    band_keys,
    band_radii,
    key_bounds,
    masks,
    runs,
)
from imp_data.parallel import map_ordered

# Unrelated images are 32 bits apart on average; beyond 15 bits, bands exclude few pairs.
_MOST_BITS = 15
# Pairs in one chunk; bounds memory where very many images are alike.
_MOST_AT_ONCE = 1 << 20
# Fewer comparisons take less time than sending the hashes to other processes.
_FEW_COMPARISONS = 1 << 26
# Bit patterns in one piece of work: about a second for a million hashes.
_MASKS_A_PIECE = 16


Ints = npt.NDArray[np.signedinteger[Any]]


class Piece(NamedTuple):
    """One piece of the comparisons: some key differences in one band, the last of `bands`."""

    bands: list[tuple[int, int]]
    masks: npt.NDArray[np.uint16]


class Pairs(NamedTuple):
    """Places of two near hashes, the lesser place first, and their distance."""

    first: Places
    second: Places
    distance_bits: npt.NDArray[np.uint8]


def cluster_hashes(hashes: Hashes, max_bits: int) -> Places:
    """Return for each hash the first place in its cluster: steps within `max_bits` connect it.

    Equal hashes count once, so an image that occurs often costs no more than any other.
    """
    distinct, which = rank_distinct(hashes)
    labels = np.arange(len(distinct))
    link = partial(_links, hashes=distinct, max_bits=max_bits)
    pieces = _pieces(max_bits)
    compared = sum(len(piece.masks) for piece in pieces) * len(distinct) ** 2 >> BAND_BITS
    for left, right in (
        map(link, pieces) if compared < _FEW_COMPARISONS else map_ordered(link, pieces)
    ):
        labels = union_labels(labels, left, right)
    label = labels[which]
    first = np.full(len(distinct), len(hashes))
    np.minimum.at(first, label, np.arange(len(hashes)))
    return first[label]


def rank_distinct(values: Hashes) -> tuple[Hashes, npt.NDArray[np.int32]]:
    """Return the sorted distinct values and the rank of each value; half of np.unique's memory."""
    ordered = np.sort(values)
    fresh = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    distinct = ordered[fresh]
    return distinct, np.searchsorted(distinct, values).astype(np.int32)


def find_pairs(hashes: Hashes, max_bits: int) -> Iterator[Pairs]:
    """Yield every pair of hashes within `max_bits`, each once, in no particular order.

    Recall is 1 by construction: see `band_radii`. Memory: some 100 bytes a hash. Raise ValueError
    if `max_bits` is more than 15.
    """
    pieces = _pieces(max_bits)
    return _merge_small(some for piece in pieces for some in _pairs_of(piece, hashes, max_bits))


def find_pairs_between(queries: Hashes, references: Hashes, max_bits: int) -> Iterator[Pairs]:
    """Yield the pairs of a query and a reference within `max_bits`; some occur several times."""
    for band, radius in band_radii(max_bits):
        keys, query_keys = band_keys(references, band), band_keys(queries, band)
        order = np.argsort(keys, kind="stable")
        bounds = key_bounds(keys)
        for mask in masks(radius):
            other = query_keys ^ mask
            first, until = bounds[other], bounds[other.astype(np.int64) + 1]
            for query, entry in runs(first, until - first):
                reference = order[entry]
                bits = np.bitwise_count(queries[query] ^ references[reference])
                near = np.flatnonzero(bits <= max_bits)
                yield Pairs(query[near], reference[near], bits[near])


def _pieces(max_bits: int) -> list[Piece]:
    """Split the comparisons so that exactly one piece finds each pair within `max_bits`."""
    if max_bits > _MOST_BITS:
        raise ValueError(f"pairs of hashes are found up to {_MOST_BITS} bits, not {max_bits}")
    bands = band_radii(max_bits)
    every = [(bands[: n + 1], masks(radius)) for n, (_, radius) in enumerate(bands)]
    return [
        Piece(some, each[first : first + _MASKS_A_PIECE])
        for some, each in every
        for first in range(0, len(each), _MASKS_A_PIECE)
    ]


def _links(piece: Piece, hashes: Hashes, max_bits: int) -> tuple[Places, Places]:
    """Return the hashes that a piece connects to an earlier hash, and the first such hash."""
    labels = np.arange(len(hashes))
    for found in _merge_small(_pairs_of(piece, hashes, max_bits)):
        labels = union_labels(labels, found.first, found.second)
    joined = np.flatnonzero(labels != np.arange(len(hashes)))
    return joined, labels[joined]


def _merge_small(found: Iterable[Pairs]) -> Iterator[Pairs]:
    """Merge small chunks of pairs into large ones."""
    waiting: list[Pairs] = []
    count = 0
    for some in found:
        waiting.append(some)
        count += len(some.first)
        if count >= _MOST_AT_ONCE:
            yield _concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield _concatenate(waiting)


def _concatenate(found: list[Pairs]) -> Pairs:
    return Pairs(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def _pairs_of(piece: Piece, hashes: Hashes, max_bits: int) -> Iterator[Pairs]:
    """Yield the pairs that the piece's band finds with its masks, and no earlier band finds."""
    *earlier, (band, _) = piece.bands
    keys = band_keys(hashes, band)
    order = np.argsort(keys, kind="stable")
    ordered, keys, bounds = hashes[order], keys[order], key_bounds(keys)
    for mask in piece.masks:
        other = keys ^ mask
        # Two different keys are compared from the lesser; equal keys with those after them.
        rows = np.flatnonzero(other > keys) if mask else np.arange(len(keys))
        first = bounds[other[rows]] if mask else rows + 1
        until = bounds[other[rows].astype(np.int64) + 1]
        for row, entry in runs(first, until - first):
            left, right = rows[row], entry
            bits = np.bitwise_count(ordered[left] ^ ordered[right])
            near = np.flatnonzero(bits <= max_bits)
            left, right, bits = left[near], right[near], bits[near]
            fresh = ~_found_by(earlier, ordered[left] ^ ordered[right])
            one, two = order[left[fresh]], order[right[fresh]]
            if len(one):
                yield Pairs(np.minimum(one, two), np.maximum(one, two), bits[fresh])


def _found_by(bands: list[tuple[int, int]], difference: Hashes) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(difference), np.bool_)
    for band, radius in bands:
        found |= np.bitwise_count(band_keys(difference, band)) <= radius
    return found


def union_labels(labels: Places, left: Ints, right: Ints) -> Places:
    """Join the items at `left` and `right`; return the least label of each connected set.

    Each label is the place of an item that is its own label.
    """
    while True:
        one, two = labels[left], labels[right]
        apart = one != two
        if not apart.any():
            return labels
        left, right, one, two = left[apart], right[apart], one[apart], two[apart]
        labels = labels.copy()
        np.minimum.at(labels, np.maximum(one, two), np.minimum(one, two))
        labels = _follow_labels(labels)


def _follow_labels(labels: Places) -> Places:
    while True:
        further = labels[labels]
        if np.array_equal(further, labels):
            return labels
        labels = further
