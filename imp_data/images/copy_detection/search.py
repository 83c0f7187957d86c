"""Find all hashes within a distance of each query, exactly."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from imp_data.images.hamming import (
    Hashes,
    Places,
    band_keys,
    band_radii,
    key_bounds,
    masks,
    runs,
)

# Below so many comparisons, comparing every pair takes less time than the bands' look-ups.
_FEW_HASHES = 1 << 13
_BLOCK_PAIRS = 1 << 20


class NearHashes(NamedTuple):
    """Places of a query and of a hash near it, with their distance in bits."""

    query: Places
    entry: Places
    distance_bits: Places


class HashSearch:
    """Hashes sorted by each of four bands of 16 bits, so that a query reads few of them."""

    def __init__(self, hashes: Hashes, max_bits: int) -> None:
        self.hashes, self.max_bits = hashes, max_bits
        self._bands = []
        for band, radius in band_radii(max_bits) if len(hashes) > _FEW_HASHES else []:
            keys = band_keys(hashes, band)
            order = np.argsort(keys, kind="stable").astype(np.int32)
            self._bands.append((band, masks(radius), order, hashes[order], key_bounds(keys)))

    def find(self, queries: Hashes) -> NearHashes:
        """Return every pair of a query and a hash within the distance, in order of both."""
        pieces = list(self._all(queries) if not self._bands else self._banded(queries))
        if not pieces:
            nothing = np.empty(0, np.int64)
            return NearHashes(nothing, nothing, nothing)
        query, entry = (np.concatenate(some) for some in zip(*pieces, strict=True))
        # A pair may be near in several bands.
        pairs = np.unique(query * max(len(self.hashes), 1) + entry)
        query, entry = np.divmod(pairs, max(len(self.hashes), 1))
        distance = np.bitwise_count(queries[query] ^ self.hashes[entry]).astype(np.int64)
        return NearHashes(query, entry, distance)

    def _all(self, queries: Hashes) -> Iterator[tuple[Places, Places]]:
        step = max(_BLOCK_PAIRS // max(len(self.hashes), 1), 1)
        for begin in range(0, len(queries), step):
            bits = np.bitwise_count(queries[begin : begin + step, None] ^ self.hashes)
            query, entry = np.nonzero(bits <= self.max_bits)
            yield query + begin, entry

    def _banded(self, queries: Hashes) -> Iterator[tuple[Places, Places]]:
        for band, near, order, ordered, bounds in self._bands:
            keys = band_keys(queries, band)
            for mask in near:
                key = (keys ^ mask).astype(np.int64)
                first = bounds[key]
                for query, place in runs(first, bounds[key + 1] - first):
                    bits = np.bitwise_count(queries[query] ^ ordered[place])
                    kept = np.flatnonzero(bits <= self.max_bits)
                    yield query[kept], order[place[kept]].astype(np.int64)
