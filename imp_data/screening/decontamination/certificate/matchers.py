"""What a matcher offers to be measured, and the matcher of the build."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from imp_data.images.decoding import decoder_version
from imp_data.images.fingerprint import fingerprint_bytes
from imp_data.images.fingerprint_cache import fingerprint_table
from imp_data.images.hamming import Hashes
from imp_data.images.image_hashes import read_hashes
from imp_data.manifests import Limits

Features = Any
Verdict = Literal["copy", "report", "different"]
Places = npt.NDArray[np.int64]

BUILD_DISTANCE_BITS = 10
# Distances computed at once.
_BLOCK_PAIRS = 1 << 20


class Pairs(NamedTuple):
    """Pairs of an image and a reference, by their places, with the value of each pair."""

    images: Places
    references: Places
    values: npt.NDArray[np.float64]


class MatcherIndex(Protocol):
    """References to match images with."""

    def match(self, images: Sequence[Features]) -> Iterator[Pairs]:
        """Yield every pair whose value is at most the matcher's `loosest`, each once."""


class Matcher(Protocol):
    """Finds copies of reference images; sent to other processes.

    The value of a pair is a distance: a pair matches up to `threshold`. A matcher that gives
    scores, of which higher ones match, gives 1 - score. Values are multiples of `step`, so that
    they are the same on every processor. Curves reach from 0 to `loosest`.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def loosest(self) -> float: ...
    @property
    def step(self) -> float: ...

    def describe(self, data: bytes) -> Features | None:
        """Return the features of an image file, as image and as reference; None if it has none.

        Raise ValueError if the file is no complete image.
        """

    def index(self, references: Sequence[Features | None]) -> MatcherIndex:
        """Index references; those without features match nothing."""

    def decide(self, value: float, image: Features, reference: Features) -> Verdict:
        """Return what follows from a pair: `report` where a person must look."""


class ThresholdMatcher:
    """A matcher that takes each pair within its threshold for a copy, and reports none."""

    threshold: float

    def decide(self, value: float, image: Features, reference: Features) -> Verdict:
        """See Matcher."""
        return "copy" if value <= self.threshold else "different"


class _Looks(NamedTuple):
    """Hashes of images: image n has `hashes[bounds[n]:bounds[n + 1]]`, uint64[looks, words]."""

    hashes: Hashes
    images: Places
    bounds: Places


class HashIndex:
    """Hashes of references; the distance of a pair is that of its nearest hashes, in bits.

    An image has one hash or several (as stored and upright), uint64[looks] or uint64[looks, words].
    """

    def __init__(self, references: Sequence[Hashes | None], loosest: float) -> None:
        self._known = _distinct_looks(references)
        self._loosest = loosest

    def match(self, images: Sequence[Hashes | None]) -> Iterator[Pairs]:
        """See MatcherIndex: every pair is compared."""
        known, asked = self._known, _distinct_looks(images)
        if not len(known.hashes) or not len(asked.hashes):
            return
        per_block = max(_BLOCK_PAIRS // len(known.hashes), 1)
        begin = 0
        while begin < len(images):
            until = int(np.searchsorted(asked.bounds, asked.bounds[begin] + per_block, "right")) - 1
            until = min(max(until, begin + 1), len(images))
            rows = slice(asked.bounds[begin], asked.bounds[until])
            pairs = asked.hashes[rows, None] ^ known.hashes[None]
            bits = np.bitwise_count(pairs).sum(axis=2, dtype=np.uint16)
            row, column = np.nonzero(bits <= self._loosest)
            found = Pairs(
                asked.images[rows][row], known.images[column], bits[row, column].astype(np.float64)
            )
            yield _nearest_looks(found)
            begin = until


def _distinct_looks(some: Sequence[Hashes | None]) -> _Looks:
    """List the different hashes of each image; equal looks of an image count once."""
    looks = [np.zeros((0, 1), np.uint64) if one is None else _distinct(one) for one in some]
    counts = np.array([len(one) for one in looks], np.int64)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    hashes = [one for one in looks if len(one)] or [np.zeros((0, 1), np.uint64)]
    return _Looks(np.concatenate(hashes), np.repeat(np.arange(len(some)), counts), bounds)


def _distinct(looks: Hashes) -> Hashes:
    rows = looks.reshape(len(looks), -1)
    return rows[:1] if (rows == rows[:1]).all() else rows


def _nearest_looks(found: Pairs) -> Pairs:
    """Keep the least value of each pair of images."""
    if len(found.images) < 2:
        return found
    order = np.lexsort((found.values, found.references, found.images))
    images, references = found.images[order], found.references[order]
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(images) != 0) | (np.diff(references) != 0)
    return Pairs(images[first], references[first], found.values[order][first])


@dataclass(frozen=True)
class BuildMatcher(ThresholdMatcher):
    """The matcher of a build: the perceptual hashes of `imp_data.images`, stored and upright."""

    threshold: float = BUILD_DISTANCE_BITS
    loosest: float = 20
    name: str = "build"
    version: str = field(default_factory=decoder_version)
    unit: str = "bits"
    step: float = 1

    def describe(self, data: bytes) -> Hashes | None:
        """Return both hashes, uint64[2]; None for a flat image. See Matcher."""
        seen = fingerprint_bytes(data, Limits())
        if seen.status != "ok":
            raise ValueError(f"no complete image: {seen.status}, {seen.problem}")
        hashes = read_hashes(fingerprint_table([seen]))
        return hashes.both[0] if hashes.hashed[0] else None

    def index(self, references: Sequence[Hashes | None]) -> HashIndex:
        """See Matcher."""
        return HashIndex(references, self.loosest)
