"""Match altered copies with their originals, and different images with each other."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.screening.decontamination.certificate.alterations import ALTERATIONS
from imp_data.screening.decontamination.certificate.describe import (
    Copies,
    Described,
    Unreadable,
    describe_copies,
)
from imp_data.screening.decontamination.certificate.matchers import Matcher, MatcherIndex, Pairs
from imp_data.screening.decontamination.certificate.pair_kinds import HALVES, PairKinds
from imp_data.screening.decontamination.certificate.trial_images import TrialImage

Steps = npt.NDArray[np.int16]
Counts = npt.NDArray[np.int64]

# The step of a copy that is beyond the loosest threshold.
BEYOND = -1
_IMAGES_AT_ONCE = 512
_MOST_LISTED = 1_000


class Tally(NamedTuple):
    """Pairs of images of different origins.

    `steps` counts those within the loosest threshold by value, int64[halves, kinds, steps];
    `pairs` counts all, int64[halves, kinds].
    """

    steps: Counts
    pairs: Counts


class MatchedPair(NamedTuple):
    """Two images that match as they are; `copies` if both show the same."""

    image: str
    reference: str
    value: float
    copies: bool


class Cost(NamedTuple):
    """CPU seconds of describing images and of matching pairs."""

    images: int
    image_seconds: float
    pairs: int
    pair_seconds: float


class Measurement(NamedTuple):
    """How a matcher finds the copies of `altered`, and which different images it matches.

    `own[n, a]` is the step (value / `matcher.step`) of the copy of image n by alteration a.
    """

    matcher: Matcher
    images: list[TrialImage]
    kinds: PairKinds
    altered: list[int]
    own: Steps
    plain: Tally
    of_copies: Tally
    matches: list[MatchedPair]
    cost: Cost


def measure(
    described: Sequence[Described], places: Sequence[int], matchers: Sequence[Matcher], label: str
) -> tuple[list[Measurement], list[Unreadable]]:
    """Measure each matcher on these images; those at `places` are altered in every way.

    Images are described by these matchers, in this order. Return also the images that cannot be
    altered, which are left out.
    """
    kinds = PairKinds([one.image for one in described])
    trials = [_Trial(described, kinds, n, matcher) for n, matcher in enumerate(matchers)]
    for trial in trials:
        trial.match_plain()
    images = [described[place].image for place in places]
    broken = []
    for place, copies in zip(places, describe_copies(images, matchers, label), strict=True):
        if isinstance(copies, Unreadable):
            broken.append(copies)
            continue
        for trial in trials:
            trial.match_copies(place, copies)
    return [trial.result() for trial in trials], broken


class _Trial:
    """The counts of one matcher while they grow."""

    def __init__(
        self, described: Sequence[Described], kinds: PairKinds, number: int, matcher: Matcher
    ) -> None:
        self._number, self._matcher, self._kinds = number, matcher, kinds
        self._images = [one.image for one in described]
        self._features = [one.features[number] for one in described]
        self._seconds = sum(one.seconds[number] for one in described)
        self._described = len(described)
        self._pair_seconds, self._pairs = 0.0, 0
        shape = (len(HALVES), len(kinds.names))
        steps = round(matcher.loosest / matcher.step) + 1
        self._plain = np.zeros((*shape, steps), np.int64)
        self._of_copies = Tally(np.zeros((*shape, steps), np.int64), np.zeros(shape, np.int64))
        self._own: dict[int, Steps] = {}
        self._matches: list[MatchedPair] = []
        self._index = self._build()

    def _build(self) -> MatcherIndex:
        begun = time.process_time()
        index = self._matcher.index(self._features)
        self._pair_seconds += time.process_time() - begun
        return index

    def match_plain(self) -> None:
        """Match all images with each other; each pair counts once, in one direction."""
        for begin in range(0, len(self._features), _IMAGES_AT_ONCE):
            some = self._features[begin : begin + _IMAGES_AT_ONCE]
            for found in self._match(some):
                images = found.images + begin
                once = _tried(images, found.references)
                self._count_plain(Pairs(images[once], found.references[once], found.values[once]))

    def _count_plain(self, found: Pairs) -> None:
        differ = self._kinds.differ(found.images, found.references)
        self._add(self._plain, found, found.images, differ)
        for n in np.flatnonzero(found.values <= self._matcher.threshold).tolist():
            if len(self._matches) >= _MOST_LISTED:
                break
            image, reference = (self._images[int(places[n])].name for places in found[:2])
            pair = MatchedPair(image, reference, float(found.values[n]), not differ[n])
            self._matches.append(pair)

    def match_copies(self, place: int, copies: Copies) -> None:
        """Match the altered copies of the image at this place with all images."""
        features = copies.features[self._number]
        own = np.full(len(features), BEYOND, np.int16)
        for found in self._match(features):
            mine = found.references == place
            own[found.images[mine]] = self._steps(found.values[mine])
            origin = np.full(len(found.references), place)
            differ = self._kinds.differ(origin, found.references)
            self._add(self._of_copies.steps, found, origin, differ)
        self._own[place] = own
        self._of_copies.pairs[:] += self._kinds.count_with(place) * len(features)
        self._seconds += copies.seconds[self._number]
        self._described += len(features)

    def _match(self, some: Sequence[object]) -> list[Pairs]:
        begun = time.process_time()
        found = list(self._index.match(some))
        self._pair_seconds += time.process_time() - begun
        self._pairs += len(some) * len(self._features)
        return found

    def _add(
        self,
        counts: Counts,
        found: Pairs,
        some: npt.NDArray[np.int64],
        which: npt.NDArray[np.bool_],
    ) -> None:
        some, others = some[which], found.references[which]
        where = self._kinds.half(some, others), self._kinds.of(some, others)
        np.add.at(counts, (*where, self._steps(found.values[which])), 1)

    def _steps(self, values: npt.NDArray[np.float64]) -> Steps:
        return np.rint(values / self._matcher.step).astype(np.int16)

    def result(self) -> Measurement:
        cost = Cost(self._described, self._seconds, self._pairs, self._pair_seconds)
        places = list(self._own)
        own = [self._own[place] for place in places]
        return Measurement(
            self._matcher, self._images, self._kinds, places,
            np.stack(own) if own else np.zeros((0, len(ALTERATIONS)), np.int16),
            Tally(self._plain, self._kinds.count_all()), self._of_copies,
            sorted(self._matches, key=lambda pair: (pair.copies, pair.value, pair.image)), cost,
        )  # fmt: skip


def _tried(some: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Choose one direction of each pair: a matcher may treat references differently."""
    upward = (some + others) % 2 == 0
    return np.asarray((some != others) & np.where(upward, some < others, some > others))
