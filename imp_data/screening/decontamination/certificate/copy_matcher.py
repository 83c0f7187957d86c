"""The matcher of altered copies, `imp_data.images.copy_detection`, in the certificate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from imp_data.images.copy_detection.describe_bytes import describe_bytes
from imp_data.images.copy_detection.document_like import is_document_like
from imp_data.images.copy_detection.features import ImageFeatures
from imp_data.images.copy_detection.index import CopyIndex
from imp_data.images.copy_detection.verdicts import LEAST_SCORE
from imp_data.images.decode_errors import NoImage, TooManyPixels
from imp_data.images.decoding import decoder_version
from imp_data.manifests import Limits
from imp_data.screening.decontamination.certificate.matchers import Pairs, Verdict

_HUNDREDTHS = 100


class CopyPairs:
    """References of a CopyIndex; the value of a pair is 1 - score."""

    def __init__(self, references: Sequence[ImageFeatures | None], loosest: float) -> None:
        names = [str(n) for n, one in enumerate(references) if one is not None]
        self._index = CopyIndex.build(names, [one for one in references if one is not None])
        self._loosest = loosest

    def match(self, images: Sequence[ImageFeatures | None]) -> Iterator[Pairs]:
        """See MatcherIndex: pairs whose hashes are far apart have no value."""
        places = [n for n, one in enumerate(images) if one is not None]
        found = self._index.match_all([one for one in images if one is not None])
        rows = [
            (place, int(match.reference), _distance(match.score))
            for place, matches in zip(places, found, strict=True)
            for match in matches
        ]
        near = np.array([row for row in rows if row[2] <= self._loosest], float).reshape(-1, 3)
        yield Pairs(near[:, 0].astype(np.int64), near[:, 1].astype(np.int64), near[:, 2])


def _distance(score: float) -> float:
    """Return 1 - score to two decimals, which a score has."""
    return round(_HUNDREDTHS - _HUNDREDTHS * score) / _HUNDREDTHS


@dataclass(frozen=True)
class CopyMatcher:
    """Finds crops, frames, flips and turns too; a match with a document is reported."""

    threshold: float = _distance(LEAST_SCORE)
    loosest: float = 0.8
    name: str = "copies"
    version: str = field(default_factory=decoder_version)
    unit: str = "1 - score"
    step: float = 1 / _HUNDREDTHS

    def describe(self, data: bytes) -> ImageFeatures | None:
        """Return an image's features; None for a nearly empty image. See Matcher."""
        try:
            features = describe_bytes(data, Limits().max_pixels)
        except (NoImage, TooManyPixels) as error:
            raise ValueError(f"no complete image: {error}") from error
        return features if features.boxes else None

    def index(self, references: Sequence[ImageFeatures | None]) -> CopyPairs:
        """See Matcher."""
        return CopyPairs(references, self.loosest)

    def decide(self, value: float, image: ImageFeatures, reference: ImageFeatures) -> Verdict:
        """Return `report` for a pair whose reference is document-like; see Matcher."""
        if value > self.threshold:
            return "different"
        return "report" if is_document_like(reference.frequent_level_percent) else "copy"
