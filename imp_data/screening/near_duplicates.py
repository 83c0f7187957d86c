"""Which images of a source look like one that the draw has kept before.

Images come in draw order. One that is within the distance of a kept one is refused, unless it is
that image, byte for byte: conversations on one image stay, however many. A flat image, which
has no hash, is refused for none and none for it. What is refused is
compared with no further image, so a chain of small steps loses only every other link. Refused or
not depends on the order of the draw alone, and not on how many are asked about at once.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.clusters import pairs, pairs_between
from imp_data.images.fingerprint_cache import Names
from imp_data.images.hamming import Hashes, Places

# Asked about together; bounds the pairs that are held where very many look alike.
_AT_ONCE = 1 << 12
_NOWHERE = np.iinfo(np.int64).max


class HashedImages(NamedTuple):
    """Names, the first 64 bits of each sha256, and two hashes each: as stored, and upright.

    The hashes of an image that is not `hashed` mean nothing.
    """

    names: Names
    digests: Names
    hashes: Hashes
    hashed: npt.NDArray[np.bool_]

    def take(self, rows: Places | slice) -> "HashedImages":
        columns: tuple[Any, ...] = self
        return HashedImages(*(column[rows] for column in columns))

    def followed_by(self, others: "HashedImages") -> "HashedImages":
        return HashedImages(*(np.concatenate(two) for two in zip(self, others, strict=True)))


def no_images() -> HashedImages:
    """None at all."""
    nothing = np.zeros(0, np.uint64)
    return HashedImages(nothing, nothing, np.zeros((0, 2), np.uint64), np.zeros(0, np.bool_))


class NearDuplicate(NamedTuple):
    """The kept image that a refused one looks like, the first in draw order, and how closely."""

    name: int
    distance_bits: int


class NearDuplicateIndex:
    """Remembers the kept images, 32 bytes each."""

    def __init__(self, max_bits: int) -> None:
        self._max_bits = max_bits
        self._kept = no_images()

    def refused(self, images: HashedImages) -> dict[int, NearDuplicate]:
        """{row: its twin} of images that follow all those asked about before."""
        found: dict[int, NearDuplicate] = {}
        hashed = np.flatnonzero(images.hashed)
        for begin in range(0, len(hashed), _AT_ONCE):
            rows = hashed[begin : begin + _AT_ONCE]
            some = self._refused(images.take(rows))
            found.update((int(rows[row]), twin) for row, twin in some.items())
        return found

    def _refused(self, fresh: HashedImages) -> dict[int, NearDuplicate]:
        before = len(self._kept.names)
        both = self._kept.followed_by(fresh)
        home = self._homes(fresh.hashes)
        rows = before + np.arange(len(home))
        apart = np.flatnonzero(both.digests[home] != fresh.digests)
        bits = _distances(fresh.hashes[apart], both.hashes[home[apart]])
        twins = both.names[home[apart]]
        self._kept = self._kept.followed_by(fresh.take(np.flatnonzero(home == rows)))
        told = zip(apart.tolist(), twins.tolist(), bits.tolist(), strict=True)
        return {row: NearDuplicate(name, distance) for row, name, distance in told}

    def _homes(self, hashes: Hashes) -> Places:
        """Of each image the first kept one that it looks like: often itself.

        Numbered are the kept ones, then these. Images of equal hashes have one home, that of the
        first among them, so that many equal ones cost no more than one.
        """
        _, first, which = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
        rows = np.sort(first)
        rank = np.searchsorted(rows, first)
        before = len(self._kept.names)
        known = self._known(hashes[rows])
        home = np.where(known < _NOWHERE, known, before + rows)
        for row, earlier in _earlier(hashes[rows], self._max_bits).items():
            if known[row] == _NOWHERE:
                kept = [home[other] for other in earlier if home[other] == before + rows[other]]
                home[row] = min(kept, default=home[row])
        return home[rank[which.reshape(-1)]]

    def _known(self, hashes: Hashes) -> Places:
        """Of each image the first kept one from before that it looks like; _NOWHERE if none."""
        known = np.full(len(hashes), _NOWHERE)
        asked, row = _entries(hashes)
        kept, place = _entries(self._kept.hashes)
        for found in pairs_between(asked, kept, self._max_bits):
            np.minimum.at(known, row[found.first], place[found.second])
        return known


def _entries(hashes: Hashes) -> tuple[Hashes, Places]:
    """Every hash once, and the row it belongs to."""
    turned = np.flatnonzero(hashes[:, 0] != hashes[:, 1])
    owner = np.concatenate([np.arange(len(hashes)), turned])
    return np.concatenate([hashes[:, 0], hashes[turned, 1]]), owner


def _earlier(hashes: Hashes, max_bits: int) -> dict[int, set[int]]:
    """{row: the rows before it that look like it}, rows in ascending order."""
    entries, owner = _entries(hashes)
    found: dict[int, set[int]] = {}
    for some in pairs(entries, max_bits):
        one, other = owner[some.first], owner[some.second]
        for row, before in zip(
            np.maximum(one, other).tolist(), np.minimum(one, other).tolist(), strict=True
        ):
            if row != before:
                found.setdefault(row, set()).add(before)
    return dict(sorted(found.items()))


def _distances(one: Hashes, other: Hashes) -> npt.NDArray[np.uint8]:
    """The least distance of either hash of each to either hash of the other."""
    bits = np.bitwise_count(one[:, :, None] ^ other[:, None, :])
    least: npt.NDArray[np.uint8] = bits.reshape(len(one), 4).min(axis=1)
    return least
