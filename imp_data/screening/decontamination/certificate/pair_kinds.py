"""Name the kinds of pairs of different images, and count the pairs of each kind."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.screening.decontamination.certificate.trial_images import (
    CROP,
    DOCUMENT_KINDS,
    FRAME,
    PHOTO,
    TrialImage,
    half_of,
)

Codes = npt.NDArray[np.int64]

HALVES = ("tune", "held-out", "across")
_ACROSS = HALVES.index("across")
# Pairs for which a matcher can promise one false match in a million; see docs/decontamination.md.
PHOTO_PAIRS = ("photos", "photos and crops of others", "crops of different photos")
PHOTO_DOCUMENT_PAIRS = "photos and documents"


def pair_kind(one: str, other: str) -> str:
    """Return the kind of a pair of images of these kinds and of different families."""
    documents = [kind in DOCUMENT_KINDS for kind in (one, other)]
    if all(documents):
        return f"{one}s" if one == other else "documents of two kinds"
    if any(documents):
        return PHOTO_DOCUMENT_PAIRS
    return PHOTO_PAIRS[(one == CROP) + (other == CROP)]


def family_kind(kind: str) -> str:
    """Return the kind of a pair of images of one family."""
    return "frames of one scene" if kind == FRAME else f"{kind}s of one template"


class _Coded(NamedTuple):
    kinds: Codes
    families: Codes
    origins: Codes
    halves: Codes


class PairKinds:
    """The kind and half of any pair of these images, by their places."""

    def __init__(self, images: Sequence[TrialImage]) -> None:
        self._kinds = sorted({image.kind for image in images} | {PHOTO})
        names = {pair_kind(a, b) for a in self._kinds for b in self._kinds}
        self.names = sorted(names | {family_kind(kind) for kind in self._kinds})
        number = {name: n for n, name in enumerate(self.names)}
        self._of_kinds = np.array(
            [[number[pair_kind(a, b)] for b in self._kinds] for a in self._kinds]
        )
        self._of_families = np.array([number[family_kind(kind)] for kind in self._kinds])
        self._coded = _Coded(
            np.array([self._kinds.index(image.kind) for image in images], np.int64),
            # An image without a family is a family of its own: -1 - place.
            _codes([image.family or f"\\0{n}" for n, image in enumerate(images)]),
            _codes([image.origin for image in images]),
            np.array([HALVES.index(half_of(image.origin)) for image in images], np.int64),
        )

    def differ(self, some: Codes, others: Codes) -> npt.NDArray[np.bool_]:
        """Return which of these pairs are of different origins."""
        return np.asarray(self._coded.origins[some] != self._coded.origins[others])

    def of(self, some: Codes, others: Codes) -> Codes:
        """Return the number of each pair's kind in `names`."""
        coded = self._coded
        kinds: Codes = self._of_kinds[coded.kinds[some], coded.kinds[others]]
        same = coded.families[some] == coded.families[others]
        return np.where(same, self._of_families[coded.kinds[some]], kinds)

    def half(self, some: Codes, others: Codes) -> Codes:
        """Return the number of each pair's half in HALVES."""
        halves = self._coded.halves
        return np.where(halves[some] == halves[others], halves[some], _ACROSS)

    def count_with(self, place: int) -> npt.NDArray[np.int64]:
        """Return the number of images of another origin, int64[halves, kinds], for one image."""
        others = np.arange(len(self._coded.kinds))
        others = others[self._coded.origins != self._coded.origins[place]]
        some = np.full(len(others), place)
        return self.count(some, others)

    def count(self, some: Codes, others: Codes) -> npt.NDArray[np.int64]:
        """Count these pairs, int64[halves, kinds]."""
        counted = np.zeros((len(HALVES), len(self.names)), np.int64)
        np.add.at(counted, (self.half(some, others), self.of(some, others)), 1)
        return counted

    def count_all(self) -> npt.NDArray[np.int64]:
        """Count the pairs of different origin among all images, int64[halves, kinds].

        By the numbers of images of each kind, because the pairs may be billions.
        """
        coded, number = self._coded, {name: n for n, name in enumerate(self.names)}
        counted = np.zeros((len(HALVES), len(self.names)), np.int64)
        sizes = Counter(zip(coded.kinds.tolist(), coded.halves.tolist(), strict=True))
        cells = sorted(sizes.items())
        for n, ((kind, half), count) in enumerate(cells):
            where = half, self._of_kinds[kind, kind]
            counted[where] += count * (count - 1) // 2
            for (other, its_half), more in cells[n + 1 :]:
                joint = half if half == its_half else _ACROSS
                counted[joint, self._of_kinds[kind, other]] += count * more
        for members in _groups(coded.families):
            some, others = _pairs(members)
            counted -= self._moved(some, others, number)
        for members in _groups(coded.origins):
            counted -= self.count(*_pairs(members))
        return counted

    def _moved(self, some: Codes, others: Codes, number: dict[str, int]) -> npt.NDArray[np.int64]:
        """Return what to subtract so that pairs of a family count as such."""
        by_kinds = np.zeros((len(HALVES), len(number)), np.int64)
        kinds = self._of_kinds[self._coded.kinds[some], self._coded.kinds[others]]
        np.add.at(by_kinds, (self.half(some, others), kinds), 1)
        return by_kinds - self.count(some, others)


def _codes(names: Sequence[str]) -> Codes:
    return np.unique(np.array(names, object), return_inverse=True)[1].astype(np.int64)


def _groups(codes: Codes) -> list[Codes]:
    """Return the places of each code that several images have."""
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return [part for part in parts if len(part) > 1]


def _pairs(members: Codes) -> tuple[Codes, Codes]:
    one, other = np.triu_indices(len(members), 1)
    return members[one], members[other]
