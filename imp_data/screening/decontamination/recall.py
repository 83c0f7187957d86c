"""Measure how often altered copies of images match, and how often other images do."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
import xxhash
from PIL import Image

from imp_data.images.decoding import decode_rgb
from imp_data.images.fingerprint import Fingerprint, fingerprint_bytes
from imp_data.images.fingerprint_cache import fingerprint_table
from imp_data.images.hamming import Hashes
from imp_data.images.image_hashes import read_hashes
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits
from imp_data.parallel import map_ordered
from imp_data.screening.decontamination.augmentations import ALTERATIONS, Alteration, altered

Bits = npt.NDArray[np.uint8]
# Larger distances than a manifest may allow count as this one.
_COUNTED_BITS = 32
# Larger images are reduced before they are altered: copies usually are, and it bounds memory.
_MOST_PX = 2_000


def hash_image(data: bytes) -> Hashes:
    """Return the stored and the upright hash of a complete image; they are often the same.

    Raise ValueError for a broken image, or for a flat one, which has no hash.
    """
    hashes = _hash_bytes(data)
    if hashes is None:
        raise ValueError("a flat image has no hash")
    return hashes


def _hash_bytes(data: bytes) -> Hashes | None:
    seen = fingerprint_bytes(data, Limits())
    if seen.status != "ok":
        raise ValueError(f"no whole image: {seen.status}, {seen.problem}")
    hashes = read_hashes(fingerprint_table([seen]))
    return hashes.both[0] if hashes.hashed[0] else None


def hash_altered_copies(
    data: bytes, alterations: Mapping[str, Alteration] = ALTERATIONS
) -> list[Hashes | None]:
    """Return both hashes of each altered copy of an image; None for a flat copy."""
    image = plain_copy(data)
    return [_hash_bytes(altered(image, alteration)) for alteration in alterations.values()]


def plain_copy(data: bytes) -> Image.Image:
    """Return the stored image in RGB without EXIF, the longer side at most 2,000 px."""
    plain = decode_rgb(data, Limits().max_pixels)
    plain.thumbnail((_MOST_PX, _MOST_PX))
    plain.info = {}
    return plain


def min_distance_bits(some: Hashes, others: Hashes) -> Bits:
    """Return the least distance between images; the last axis has an image's hashes."""
    pairs = some[..., :, None] ^ others[..., None, :]
    least: Bits = np.bitwise_count(pairs).min(axis=(-2, -1))
    return least


def measure_recall(
    rows: Sequence[Fingerprint], places: Sequence[int], reader: ImageReader, limits: Limits
) -> dict[str, Any]:
    """Match altered copies of the images at these places with the hashes of all rows.

    No row is a flat image.

    `bits` counts, by alteration, copies by their distance from their own image; `other` counts
    pairs of a copy and another image; `imagehash` counts the images by how far our hash of them
    is from imagehash's. Distances of 32 bits and more count as 32.
    """
    known = read_hashes(fingerprint_table(rows)).both
    own = {name: np.zeros(_COUNTED_BITS + 1, np.int64) for name in ALTERATIONS}
    other = np.zeros(_COUNTED_BITS + 1, np.int64)
    peer = np.zeros(_COUNTED_BITS + 1, np.int64)
    images = [rows[place].image for place in places]
    work = map_ordered(partial(_measure_image, reader=reader, limits=limits), images)
    for place, (copies, its_hash) in zip(places, work, strict=True):
        peer[min((int(known[place, 0]) ^ its_hash).bit_count(), _COUNTED_BITS)] += 1
        for name, copy in zip(ALTERATIONS, copies, strict=True):
            if copy is None:  # a flat copy matches nothing
                bits = np.full(len(known), _COUNTED_BITS, np.uint8)
            else:
                bits = min_distance_bits(copy, known).clip(max=_COUNTED_BITS)
            own[name][bits[place]] += 1
            other += np.bincount(np.delete(bits, place), minlength=_COUNTED_BITS + 1)
    return {
        "images": len(images),
        "bits": {name: _counts(counted) for name, counted in own.items()},
        "other": _counts(other),
        "imagehash": _counts(peer),
    }


def _measure_image(
    image: str, reader: ImageReader, limits: Limits
) -> tuple[list[Hashes | None], int]:
    data = reader.read(image, limits.max_image_bytes)
    return hash_altered_copies(data), imagehash_of(data)


def imagehash_of(data: bytes) -> int:
    """Return imagehash's own hash of a complete image as stored, decoded at full scale."""
    return int(str(imagehash.phash(decode_rgb(data, Limits().max_pixels))), 16)


def _counts(histogram: npt.NDArray[np.int64]) -> dict[str, int]:
    return {str(bits): int(histogram[bits]) for bits in np.flatnonzero(histogram)}


def choose_sample(names: Sequence[str], most: int) -> list[int]:
    """Return the places of `most` names, sampled by their hash and not by their place."""
    by_hash = sorted(range(len(names)), key=lambda n: xxhash.xxh3_64_intdigest(names[n].encode()))
    return sorted(by_hash[:most])


def recall_within(figures: Mapping[str, Any], max_bits: int) -> dict[str, Any]:
    """Summarize the figures of `measure_recall` for one matching distance.

    `near` is the recall over those alterations together that leave an image's coarse structure as
    it is; `false` of so many `pairs` are a copy and another image that match. `imagehash_bits` is
    how far at most our hashes are from imagehash's.
    """
    bits, images = figures["bits"], figures["images"]
    found = {name: _within(counts, max_bits) for name, counts in bits.items()}
    near = [found[name] for name in bits if ALTERATIONS[name].near]
    return {
        "images": images,
        "recall": {name: _share(count, images) for name, count in found.items()},
        "near": _share(sum(near), images * len(near)),
        "false": _within(figures["other"], max_bits),
        "pairs": sum(figures["other"].values()),
        "imagehash_bits": max(map(int, figures["imagehash"])),
    }


def _within(counts: Mapping[str, int], max_bits: int) -> int:
    return sum(count for bits, count in counts.items() if int(bits) <= max_bits)


def _share(count: int, of: int) -> float | None:
    return round(count / of, 4) if of else None
