"""Find near-duplicates among the images of one source, in sampling order.

An image within the distance of a kept image is refused, unless both have the same bytes:
conversations on one image stay, however many. A flat image has no hash: it is never refused and
refuses no other. A refused image is not compared with later images, so a chain of small steps
loses only every other image. The result depends on the sampling order alone, and not on how many
images one call passes.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imp_data.images.clusters import find_pairs, find_pairs_between
from imp_data.images.fingerprint_cache import HashKeys, hash_image_paths
from imp_data.images.hamming import Hashes, Places
from imp_data.images.image_hashes import HashEntries, ImageHashes, hash_entries, read_hashes

# Images compared at once; bounds the pairs in memory where very many are alike.
_CHUNK_IMAGES = 1 << 12
_ABSENT = np.iinfo(np.int64).max


class HashedImages(NamedTuple):
    """Path hashes, the first 64 bits of each sha256, and the two perceptual hashes.

    The hashes of an image that is not `hashed` mean nothing.
    """

    names: HashKeys
    digests: HashKeys
    hashes: Hashes
    hashed: npt.NDArray[np.bool_]

    def take(self, rows: Places | slice) -> "HashedImages":
        columns: tuple[Any, ...] = self
        return HashedImages(*(column[rows] for column in columns))

    def followed_by(self, others: "HashedImages") -> "HashedImages":
        return HashedImages(*(np.concatenate(two) for two in zip(self, others, strict=True)))


def hashed_images(fingerprints: pa.Table) -> HashedImages:
    """Read what the index compares from the rows of a fingerprint file."""
    texts = fingerprints["sha256"].to_pylist()
    begins = bytes.fromhex("".join((text or "0" * 16)[:16] for text in texts))
    names = hash_image_paths(fingerprints["image"].to_pylist())
    digests = np.frombuffer(begins, ">u8").astype(np.uint64)
    return HashedImages(names, digests, *read_hashes(fingerprints))


def _no_images() -> HashedImages:
    nothing = np.zeros(0, np.uint64)
    return HashedImages(nothing, nothing, np.zeros((0, 2), np.uint64), np.zeros(0, np.bool_))


class NearDuplicate(NamedTuple):
    """The kept image that a refused one resembles, the first in sampling order, and how closely."""

    name: int
    distance_bits: int


class NearDuplicateIndex:
    """Index the kept images of a source, 33 bytes each."""

    def __init__(self, max_bits: int) -> None:
        self._max_bits = max_bits
        self._kept = _no_images()

    def refuse(self, images: HashedImages) -> dict[int, NearDuplicate]:
        """Return {row: kept image} for the near-duplicates, and index the other images.

        The images follow those of all earlier calls.
        """
        found: dict[int, NearDuplicate] = {}
        hashed = np.flatnonzero(images.hashed)
        for begin in range(0, len(hashed), _CHUNK_IMAGES):
            rows = hashed[begin : begin + _CHUNK_IMAGES]
            refused = self._refuse_chunk(images.take(rows))
            found.update((int(rows[row]), kept) for row, kept in refused.items())
        return found

    def _refuse_chunk(self, new: HashedImages) -> dict[int, NearDuplicate]:
        before = len(self._kept.names)
        both = self._kept.followed_by(new)
        kept = self._first_kept(new)
        rows = before + np.arange(len(kept))
        refused = np.flatnonzero(both.digests[kept] != new.digests)
        bits = _distances(new.hashes[refused], both.hashes[kept[refused]])
        names = both.names[kept[refused]]
        self._kept = self._kept.followed_by(new.take(np.flatnonzero(kept == rows)))
        found = zip(refused.tolist(), names.tolist(), bits.tolist(), strict=True)
        return {row: NearDuplicate(name, distance) for row, name, distance in found}

    def _first_kept(self, new: HashedImages) -> Places:
        """Return for each image the first kept image within the distance; often itself.

        Places count the kept images, then the new ones. Images of equal hashes share the result
        of the first among them, so that many equal images cost no more than one.
        """
        _, first, which = np.unique(new.hashes, axis=0, return_index=True, return_inverse=True)
        rows = np.sort(first)
        rank = np.searchsorted(rows, first)
        distinct = new.take(rows)
        before = len(self._kept.names)
        known = self._known(distinct)
        kept = np.where(known < _ABSENT, known, before + rows)
        near = _near_earlier(distinct, self._max_bits)
        own = kept == before + rows
        for row in np.flatnonzero(near.any(axis=1) & (known == _ABSENT)).tolist():
            if (near[row] & own).any():
                kept[row], own[row] = before + rows[np.argmax(near[row] & own)], False
        return kept[rank[which.reshape(-1)]]

    def _known(self, new: HashedImages) -> Places:
        """Return for each image the first image kept by earlier chunks; _ABSENT if none is near."""
        known = np.full(len(new.names), _ABSENT)
        queries, references = _entries(new), _entries(self._kept)
        for found in find_pairs_between(queries.hashes, references.hashes, self._max_bits):
            np.minimum.at(known, queries.rows[found.first], references.rows[found.second])
        return known


def _entries(images: HashedImages) -> HashEntries:
    return hash_entries(ImageHashes(images.hashes, images.hashed))


def _near_earlier(images: HashedImages, max_bits: int) -> npt.NDArray[np.bool_]:
    """Return [row, other]: whether another image is within the distance, and earlier.

    16 MiB for a chunk of 4,096 images, however many of them are alike.
    """
    near = np.zeros((len(images.names), len(images.names)), np.bool_)
    entries = _entries(images)
    for some in find_pairs(entries.hashes, max_bits):
        one, other = entries.rows[some.first], entries.rows[some.second]
        near[np.maximum(one, other), np.minimum(one, other)] = True
    np.fill_diagonal(near, False)  # the two hashes of one image
    return near


def _distances(one: Hashes, other: Hashes) -> npt.NDArray[np.uint8]:
    """Return the least distance of either hash of each image to either hash of the other."""
    bits = np.bitwise_count(one[:, :, None] ^ other[:, None, :])
    least: npt.NDArray[np.uint8] = bits.reshape(len(one), 4).min(axis=1)
    return least
