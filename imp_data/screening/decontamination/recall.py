"""Measure in each build how often altered copies of a benchmark's images match, and others do."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt

from imp_data.errors import UserError
from imp_data.images.decoding import decode_rgb
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import fingerprint_table
from imp_data.images.image_hashes import read_hashes
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits
from imp_data.parallel import map_ordered
from imp_data.screening.decontamination.certificate.alterations import ALTERATIONS
from imp_data.screening.decontamination.certificate.describe import (
    Copies,
    Unreadable,
    describe_copies,
)
from imp_data.screening.decontamination.certificate.figures import group_figures
from imp_data.screening.decontamination.certificate.matchers import BuildMatcher
from imp_data.screening.decontamination.certificate.trial_images import PHOTO, TrialImage

# Larger distances than a manifest may allow count as this one.
_COUNTED_BITS = 32


def measure_recall(
    rows: Sequence[Fingerprint],
    places: Sequence[int],
    reader: ImageReader,
    limits: Limits,
    label: str = "recall",
) -> dict[str, Any]:
    """Match altered copies of the images at these places with the hashes of all rows.

    No row is a flat image. `nearest` has, by alteration, the distance of the copy of each image
    from its own image; `other` counts pairs of a copy and another image by distance; `imagehash`
    counts the images by how far our hash of them is from imagehash's. Distances of 32 bits and
    more count as 32.
    """
    known = read_hashes(fingerprint_table(rows)).both
    matcher = BuildMatcher(loosest=_COUNTED_BITS - 1)
    index = matcher.index(list(known))
    nearest: dict[str, list[int]] = {name: [] for name in ALTERATIONS}
    other = np.zeros(_COUNTED_BITS + 1, np.int64)
    names = [rows[place].image for place in places]
    for place, copies in zip(places, _copies(names, matcher, reader, limits, label), strict=True):
        own = np.full(len(ALTERATIONS), _COUNTED_BITS)
        near = np.zeros(_COUNTED_BITS + 1, np.int64)
        for found in index.match(copies.features[0]):
            mine, bits = found.references == place, found.values.astype(np.int64)
            own[found.images[mine]] = bits[mine]
            near += np.bincount(bits[~mine], minlength=_COUNTED_BITS + 1)
        near[_COUNTED_BITS] += len(ALTERATIONS) * (len(known) - 1) - near.sum()
        other += near
        for name, bits_apart in zip(ALTERATIONS, own.tolist(), strict=True):
            nearest[name].append(bits_apart)
    return {
        "images": len(names),
        "nearest": nearest,
        "other": _counts(other),
        "imagehash": _counts(_imagehash_distances(known[list(places)], names, reader, limits)),
    }


def _copies(
    names: Sequence[str], matcher: BuildMatcher, reader: ImageReader, limits: Limits, label: str
) -> Iterator[Copies]:
    images = [
        TrialImage(name, PHOTO, name, "", partial(reader.read, name, limits.max_image_bytes))
        for name in names
    ]
    for copies in describe_copies(images, (matcher,), label, here=False):
        if isinstance(copies, Unreadable):
            remedy = "restore the image, then run the same command again"
            raise UserError(copies.name, f"could be read before, not now: {copies.problem}", remedy)
        yield copies


def _imagehash_distances(
    known: npt.NDArray[np.uint64], names: Sequence[str], reader: ImageReader, limits: Limits
) -> npt.NDArray[np.int64]:
    """Count the images by the distance of our stored hash from imagehash's, int64[33]."""
    counted = np.zeros(_COUNTED_BITS + 1, np.int64)
    work = map_ordered(partial(_read_imagehash, reader=reader, limits=limits), names)
    for ours, theirs in zip(known[:, 0].tolist(), work, strict=True):
        counted[min((ours ^ theirs).bit_count(), _COUNTED_BITS)] += 1
    return counted


def _read_imagehash(name: str, reader: ImageReader, limits: Limits) -> int:
    return imagehash_of(reader.read(name, limits.max_image_bytes))


def imagehash_of(data: bytes) -> int:
    """Return imagehash's own hash of a complete image as stored, decoded at full scale."""
    return int(str(imagehash.phash(decode_rgb(data, Limits().max_pixels))), 16)


def _counts(histogram: npt.NDArray[np.int64]) -> dict[str, int]:
    return {str(bits): int(histogram[bits]) for bits in np.flatnonzero(histogram)}


def recall_within(figures: Mapping[str, Any], max_bits: int) -> dict[str, Any]:
    """Summarize the figures of `measure_recall` for one matching distance.

    `near` is the recall over the alterations of group A together, which leave an image's coarse
    structure as it is: the check `recall` compares it with `min_recall`. `groups` has the recall of
    each group with its 95 % interval. `false` of so many `pairs` are a copy and another image that
    match. `imagehash_bits` is how far at most our hashes are from imagehash's.
    """
    nearest, images = figures["nearest"], figures["images"]
    own = np.array([nearest[name] for name in ALTERATIONS], np.int16).T
    groups = group_figures(own, max_bits)
    kept = ("title", "found", "of", "recall", "low", "high")
    return {
        "images": images,
        "near": _rounded(groups["A"]["recall"]),
        "groups": {
            group: {name: _rounded(value) for name, value in one.items() if name in kept}
            for group, one in groups.items()
        },
        "recall": {
            name: _rounded(float(np.mean(np.array(bits) <= max_bits))) if images else None
            for name, bits in nearest.items()
        },
        "false": _within(figures["other"], max_bits),
        "pairs": sum(figures["other"].values()),
        "imagehash_bits": max(map(int, figures["imagehash"])),
    }


def _within(counts: Mapping[str, int], max_bits: int) -> int:
    return sum(count for bits, count in counts.items() if int(bits) <= max_bits)


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
