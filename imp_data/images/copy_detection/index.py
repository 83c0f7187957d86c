"""Match images with the references that they may be altered copies of."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.copy_detection.boxes import Box
from imp_data.images.copy_detection.document_like import is_document_like
from imp_data.images.copy_detection.features import ImageFeatures, box_region
from imp_data.images.copy_detection.grey import SIDE_PX, Grey, Numbers, stack_greys
from imp_data.images.copy_detection.hashes import Hashes, Region
from imp_data.images.copy_detection.registration import register
from imp_data.images.copy_detection.sampling import centred
from imp_data.images.copy_detection.score import score_pairs
from imp_data.images.copy_detection.search import HashSearch
from imp_data.images.copy_detection.thumbnail import decode_thumbnail
from imp_data.images.copy_detection.variants import (
    VARIANTS,
    Variant,
    nearest_aspect,
    variant_hashes,
)
from imp_data.images.copy_detection.verdicts import LEAST_SCORE, CopyVerdict, judge
from imp_data.images.hamming import Places

# A hash within these bits makes a pair a candidate if its other hash is within the third number.
PHASH_BITS, BLOCK_HASH_BITS, OTHER_HASH_BITS = 10, 8, 20
# The nearest forms are registered: so many of one reference, and of all references so many.
_FORMS_A_PAIR = 2
_FORMS_AN_IMAGE = 128
# Of an image, only what is in a box of this share of its area or more is scored.
_CONTENT_AREA = 0.3
_REFERENCES_AT_ONCE, _PAIRS_AT_ONCE = 256, 32


class Match(NamedTuple):
    """The reference that an image may be a copy of, and all that the verdict rests on.

    `score` is from -1 to 1; `variant` is the form of the reference whose hashes are near, and
    `box` the region of the image that has them. The two distances are between their hashes of
    either kind. A pair below the least score has the verdict None.
    """

    reference: str
    score: float
    variant: Variant
    box: Box
    distance_bits: int
    block_distance_bits: int
    document_like: bool
    verdict: CopyVerdict | None


class _Candidates(NamedTuple):
    """Pairs to register: places of the image, its box, and the reference's form."""

    image: Places
    box: Places
    entry: Places
    distance_bits: Places
    block_distance_bits: Places


class _Entries(NamedTuple):
    """The forms of all references: both hashes, the reference, and the variant or its own box."""

    phashes: Hashes
    block_hashes: Hashes
    reference: Places
    form: Places


class CopyIndex:
    """References by the hashes of their variants; see `build`."""

    def __init__(
        self,
        names: Sequence[str],
        features: Sequence[ImageFeatures],
        thumbnails: Grey,
        entries: _Entries,
    ) -> None:
        self._names, self._features, self._thumbnails = names, features, thumbnails
        self._entries = entries
        self._document_like = np.array(
            [is_document_like(one.frequent_level_percent) for one in features], np.bool_
        )
        by_blocks = np.array([one.by_blocks for one in VARIANTS] + [False], np.bool_)
        in_blocks = np.flatnonzero(by_blocks[np.minimum(entries.form, len(VARIANTS))])
        self._searches = (
            (HashSearch(entries.phashes, PHASH_BITS), np.arange(len(entries.form))),
            (HashSearch(entries.block_hashes[in_blocks], BLOCK_HASH_BITS), in_blocks),
        )

    @classmethod
    def build(cls, names: Sequence[str], features: Sequence[ImageFeatures]) -> "CopyIndex":
        """Index references by name; nearly empty ones, which have no boxes, match nothing.

        Takes about 5 ms and 6 kB a reference. Raise ValueError if a thumbnail is damaged.
        """
        thumbnails = stack_greys([decode_thumbnail(one.thumbnail) for one in features])
        return cls(names, features, thumbnails, _entries(features, thumbnails))

    def match(
        self, features: Sequence[ImageFeatures], least_score: float = LEAST_SCORE
    ) -> list[Match | None]:
        """Return the best match of each image, None if its hashes are near no reference's.

        A copy comes before a pair to report; then the higher score and the earlier reference win.
        """
        best: list[Match | None] = []
        for some in self.match_all(features, least_score):
            ranked = sorted(some, key=lambda one: (one.verdict != "copy", -one.score))
            best.append(ranked[0] if ranked else None)
        return best

    def match_all(
        self, features: Sequence[ImageFeatures], least_score: float = LEAST_SCORE
    ) -> list[list[Match]]:
        """Return all registered pairs of each image, in order of the references.

        An image is registered with 128 forms at most: those of references that are not
        document-like first, then the nearest by hash.
        """
        found: list[dict[int, Match]] = [{} for _ in features]
        candidates = self._candidates(features)
        for begin in range(0, len(candidates.image), _PAIRS_AT_ONCE):
            some = _Candidates(*(each[begin : begin + _PAIRS_AT_ONCE] for each in candidates))
            for image, reference, match in self._register(features, some, least_score):
                known = found[image].get(reference)
                if known is None or match.score > known.score:
                    found[image][reference] = match
        return [[some[place] for place in sorted(some)] for some in found]

    def _candidates(self, features: Sequence[ImageFeatures]) -> _Candidates:
        image = np.repeat(np.arange(len(features)), [len(one.boxes) for one in features])
        box = np.concatenate([np.arange(len(one.boxes)) for one in features] or [image])
        phashes = np.array([each for one in features for each in one.phashes], np.uint64)
        blocks = np.array([each for one in features for each in one.block_hashes], np.uint64)
        queries, entries = [], []
        for (search, place), hashes in zip(self._searches, (phashes, blocks), strict=True):
            near = search.find(hashes)
            queries.append(near.query)
            entries.append(place[near.entry])
        # Both hashes of a pair may be near.
        forms = max(len(self._entries.form), 1)
        pairs = np.unique(np.concatenate(queries) * forms + np.concatenate(entries))
        query, entry = np.divmod(pairs, forms)
        bits = np.bitwise_count(phashes[query] ^ self._entries.phashes[entry]).astype(np.int64)
        others = np.bitwise_count(blocks[query] ^ self._entries.block_hashes[entry])
        kept = np.flatnonzero(np.maximum(bits, others) <= OTHER_HASH_BITS)
        found = _Candidates(image[query], box[query], entry, bits, others.astype(np.int64))
        return self._nearest(_Candidates(*(each[kept] for each in found)))

    def _nearest(self, found: _Candidates) -> _Candidates:
        """Keep the nearest forms of each pair, and the nearest pairs of each image."""
        reference = self._entries.reference[found.entry]
        total = found.distance_bits + found.block_distance_bits
        order = np.lexsort((found.box, found.entry, total, reference, found.image))
        pair = found.image[order] * len(self._names) + reference[order]
        order = order[_ranks(pair) < _FORMS_A_PAIR]
        documents = self._document_like[reference[order]]
        order = order[np.lexsort((total[order], documents, found.image[order]))]
        order = order[_ranks(found.image[order]) < _FORMS_AN_IMAGE]
        return _Candidates(*(each[order] for each in found))

    def _register(
        self, features: Sequence[ImageFeatures], some: _Candidates, least_score: float
    ) -> Iterator[tuple[int, int, Match]]:
        reference = self._entries.reference[some.entry]
        boxes = [
            features[image].boxes[box]
            for image, box in zip(some.image.tolist(), some.box.tolist(), strict=True)
        ]
        variants = [
            self._variant(int(place), int(form))
            for place, form in zip(reference, self._entries.form[some.entry], strict=True)
        ]
        inside = centred(np.stack([_region_map(box_region(box)) for box in boxes]))
        aspects = [nearest_aspect(self._features[n].aspect_percent) for n in reference.tolist()]
        starts = centred(
            np.stack([v.to_reference(a) for v, a in zip(variants, aspects, strict=True)])
        )
        decoded = {n: decode_thumbnail(features[n].thumbnail) for n in set(some.image.tolist())}
        queries = np.stack([decoded[n] for n in some.image.tolist()])
        references = self._thumbnails[reference]
        maps = register(queries, inside, references, starts)
        within = (
            [_content_box(features[image]) for image in some.image.tolist()],
            [_content_box(self._features[place]) for place in reference.tolist()],
        )
        scores = score_pairs(queries, inside, references, maps, within)
        for n, place in enumerate(reference.tolist()):
            document_like = bool(self._document_like[place])
            yield (
                int(some.image[n]),
                place,
                Match(
                    self._names[place],
                    float(scores[n]),
                    variants[n],
                    boxes[n],
                    int(some.distance_bits[n]),
                    int(some.block_distance_bits[n]),
                    document_like,
                    judge(float(scores[n]), document_like, least_score),
                ),
            )

    def _variant(self, reference: int, form: int) -> Variant:
        if form < len(VARIANTS):
            return VARIANTS[form]
        return Variant(box_region(self._features[reference].boxes[form - len(VARIANTS) + 1]))


def _entries(features: Sequence[ImageFeatures], thumbnails: Grey) -> _Entries:
    """Hash the variants of each reference, and take the hashes of its own boxes."""
    pieces: list[tuple[npt.NDArray[Any], ...]] = []
    count = len(VARIANTS)
    present = np.array([n for n, one in enumerate(features) if one.boxes], np.int64)
    aspects = np.array([nearest_aspect(features[n].aspect_percent) for n in present.tolist()])
    for aspect in np.unique(aspects).tolist():
        alike = present[aspects == aspect]
        for begin in range(0, len(alike), _REFERENCES_AT_ONCE):
            places = alike[begin : begin + _REFERENCES_AT_ONCE]
            phashes, blocks = variant_hashes(thumbnails[places], VARIANTS, aspect)
            forms = np.tile(np.arange(count), len(places))
            pieces.append((phashes.ravel(), blocks.ravel(), np.repeat(places, count), forms))
    own = [
        (one.phashes[box], one.block_hashes[box], place, count + box - 1)
        for place, one in enumerate(features)
        for box in range(1, len(one.boxes))
    ]
    kinds: tuple[npt.DTypeLike, ...] = (np.uint64, np.uint64, np.int64, np.int64)
    rows = list(zip(*own, strict=True)) or [()] * len(kinds)
    pieces.append(tuple(np.array(row, kind) for row, kind in zip(rows, kinds, strict=True)))
    return _Entries(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _content_box(features: ImageFeatures) -> Box:
    """Return the last box that is large: a small one may be a part of an object before a wall."""
    least = _CONTENT_AREA * SIDE_PX**2
    return next(
        box
        for box in reversed(features.boxes)
        if (box.right - box.left) * (box.bottom - box.top) >= least
    )


def _region_map(region: Region) -> Numbers:
    return Variant(region).to_reference()


def _ranks(groups: Places) -> Places:
    """Return the place of each within its run of equal groups."""
    if not len(groups):
        return groups
    begin = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    counts = np.diff(np.append(begin, len(groups)))
    ranks: Places = np.arange(len(groups)) - np.repeat(begin, counts)
    return ranks
