"""Pairs of drawn images with right verdicts, and the table of a matcher's verdicts on them."""

import csv
import io
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from typing import NamedTuple

from PIL import Image

from imp_data.images.decoding import decode_rgb
from imp_data.screening.decontamination.certificate.alterations import (
    ALTERATIONS,
    altered,
    copy_seed,
)
from imp_data.screening.decontamination.certificate.drawn_documents import DRAWN_DOCUMENTS
from imp_data.screening.decontamination.certificate.matchers import Matcher, Verdict
from imp_data.screening.decontamination.certificate.trial_images import (
    TrialImage,
    crops_of,
    drawn_documents,
    drawn_frames,
    drawn_photos,
)

_HEADER = ("image", "reference", "right", "verdict")
_SEED = 900_000
_PHOTOS = 5
# Document copies that a matcher should report, and one whose pixels agree: that is a copy.
_DOCUMENT_COPIES: Mapping[str, Verdict] = {
    "PNG": "copy",
    "JPEG, quality 50": "report",
    "half as large": "report",
    "crop to 80 % of the area": "report",
    "white bars to a square": "report",
}


class LabelledPair(NamedTuple):
    """An image, a reference, and the verdict that a perfect matcher gives."""

    image: TrialImage
    reference: TrialImage
    right: Verdict


class PairVerdict(NamedTuple):
    """A matcher's verdict on a labelled pair; no value if it is beyond the loosest threshold."""

    image: str
    reference: str
    right: Verdict
    verdict: Verdict
    value: float | None = None


def labelled_pairs() -> Iterator[LabelledPair]:
    """Yield each alteration of a photo, of documents some, and different images that look alike."""
    photos = list(drawn_photos(_PHOTOS, _SEED))
    for n, name in enumerate(ALTERATIONS):
        reference = photos[n % _PHOTOS]
        yield LabelledPair(_copy(reference, name), reference, "copy")
    for one, other in pairwise(photos):
        yield LabelledPair(one, other, "different")
        for crop in crops_of([one], 2):
            yield LabelledPair(crop, other, "different")
    frames = list(drawn_frames(2, _SEED))
    for one, other in pairwise(frames):
        yield LabelledPair(one, other, "different")
    yield from _document_pairs(photos[0])
    for one, other in pairwise([_nearly_empty(n) for n in range(3)]):
        yield LabelledPair(one, other, "different")


def _document_pairs(photo: TrialImage) -> Iterator[LabelledPair]:
    documents = {image.name: image for image in drawn_documents(2)}
    for kind in DRAWN_DOCUMENTS:
        first, sibling, other = (documents[f"{kind} {n}"] for n in ("0.0", "0.1", "1.0"))
        for name, right in _DOCUMENT_COPIES.items():
            yield LabelledPair(_copy(first, name), first, right)
        for image in (sibling, other, photo):
            yield LabelledPair(image, first, "different")


def _copy(image: TrialImage, alteration: str) -> TrialImage:
    name = f"{image.name}: {alteration}"
    return image._replace(name=name, read=partial(_read_copy, image, alteration))


def _read_copy(image: TrialImage, alteration: str) -> bytes:
    seed = copy_seed(image.name, alteration)
    return altered(decode_rgb(image.read()), ALTERATIONS[alteration], seed)


def _nearly_empty(number: int) -> TrialImage:
    """Return a page of one grey with a dot: its bits say nothing about it."""
    name = f"nearly empty {number}"
    return TrialImage(name, "page", name, "", partial(_read_nearly_empty, number))


def _read_nearly_empty(number: int) -> bytes:
    image = Image.new("RGB", (400, 300), (240, 240, 240))
    image.paste((236, 236, 236), (40 + 90 * number, 60, 60 + 90 * number, 80))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def verdicts(matcher: Matcher) -> list[PairVerdict]:
    """Return the matcher's verdict on each labelled pair."""
    describe = lru_cache(maxsize=64)(lambda image: matcher.describe(image.read()))
    return [_verdict(matcher, pair, describe(pair.image), describe(pair.reference))
            for pair in labelled_pairs()]  # fmt: skip


def _verdict(matcher: Matcher, pair: LabelledPair, image: object, reference: object) -> PairVerdict:
    found = [float(v) for some in matcher.index([reference]).match([image]) for v in some.values]
    value = min(found, default=None)
    verdict: Verdict = "different" if value is None else matcher.decide(value, image, reference)
    return PairVerdict(pair.image.name, pair.reference.name, pair.right, verdict, value)


def verdict_table(some: list[PairVerdict]) -> str:
    """Return the table as tab-separated text, without values, which libraries may change."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(one[:4] for one in some)
    return out.getvalue()


def changes(earlier: str, present: list[PairVerdict]) -> list[str]:
    """Return a line for each pair whose verdict differs from that of an earlier table."""
    known = {(row[0], row[1]): row for row in csv.reader(io.StringIO(earlier), delimiter="\t")}
    lines = []
    for one in present:
        row = known.pop((one.image, one.reference), None)
        if row is None:
            lines.append(f"new: {one.image}, {one.reference}: {one.verdict}")
        elif row[3] != one.verdict or row[2] != one.right:
            mark = "right" if one.verdict == one.right else f"right is {one.right}"
            lines.append(f"{one.image}, {one.reference}: {row[3]} → {one.verdict} ({mark})")
    known.pop((_HEADER[0], _HEADER[1]), None)
    return lines + [f"gone: {image}, {reference}" for image, reference in known]
