"""How well the matcher knows altered images again, and how often it takes others for them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
import xxhash
from PIL import Image

from imp_data.images.decoding import decode_rgb
from imp_data.images.fingerprint import Fingerprint, look
from imp_data.images.fingerprint_cache import fingerprint_table
from imp_data.images.hamming import Hashes
from imp_data.images.image_hashes import read_hashes
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits
from imp_data.parallel import map_ordered
from imp_data.screening.decontamination.augmentations import ALTERATIONS, Alteration, altered

Bits = npt.NDArray[np.uint8]
# Pairs further apart than the largest distance that a manifest may ask for are not told apart.
_COUNTED_BITS = 32
# Larger images are reduced before they are altered: that is how copies come, and bounds memory.
_MOST_PX = 2_000


def both_looks(data: bytes) -> Hashes:
    """Of a whole image the hash as stored and the hash upright, which are often the same.

    Raises ValueError for any other, or a flat one: it has none.
    """
    hashes = _looks(data)
    if hashes is None:
        raise ValueError("a flat image has no hash")
    return hashes


def _looks(data: bytes) -> Hashes | None:
    seen = look(data, Limits())
    if seen.status != "ok":
        raise ValueError(f"no whole image: {seen.status}, {seen.problem}")
    hashes = read_hashes(fingerprint_table([seen]))
    return hashes.both[0] if hashes.hashed[0] else None


def altered_looks(
    data: bytes, alterations: Mapping[str, Alteration] = ALTERATIONS
) -> list[Hashes | None]:
    """Both looks of each altered copy of an image; None of one that is flat."""
    image = plain_copy(data)
    return [_looks(altered(image, alteration)) for alteration in alterations.values()]


def plain_copy(data: bytes) -> Image.Image:
    """The image as stored, in RGB, without its EXIF block; the longer side at most 2,000 px."""
    plain = decode_rgb(data, Limits().max_pixels)
    plain.thumbnail((_MOST_PX, _MOST_PX))
    plain.info = {}
    return plain


def least_bits(some: Hashes, others: Hashes) -> Bits:
    """Distance of images' nearest looks; the last axis of either has an image's looks."""
    pairs = some[..., :, None] ^ others[..., None, :]
    least: Bits = np.bitwise_count(pairs).min(axis=(-2, -1))
    return least


def measured(
    rows: Sequence[Fingerprint], places: Sequence[int], reader: ImageReader, limits: Limits
) -> dict[str, Any]:
    """Figures of altered copies of the images at these places, against the looks of all rows.

    No row is of a flat image.

    `bits` counts, by alteration, copies by their distance from their own image; `other` counts
    pairs of a copy and another image; `imagehash` counts the images by how far our hash of them
    is from imagehash's. Distances from 32 bits on are not told apart.
    """
    known = read_hashes(fingerprint_table(rows)).both
    own = {name: np.zeros(_COUNTED_BITS + 1, np.int64) for name in ALTERATIONS}
    other = np.zeros(_COUNTED_BITS + 1, np.int64)
    peer = np.zeros(_COUNTED_BITS + 1, np.int64)
    images = [rows[place].image for place in places]
    work = map_ordered(partial(_altered_looks, reader=reader, limits=limits), images)
    for place, (copies, its_hash) in zip(places, work, strict=True):
        peer[min((int(known[place, 0]) ^ its_hash).bit_count(), _COUNTED_BITS)] += 1
        for name, copy in zip(ALTERATIONS, copies, strict=True):
            if copy is None:  # a flat copy matches nothing
                bits = np.full(len(known), _COUNTED_BITS, np.uint8)
            else:
                bits = least_bits(copy, known).clip(max=_COUNTED_BITS)
            own[name][bits[place]] += 1
            other += np.bincount(np.delete(bits, place), minlength=_COUNTED_BITS + 1)
    return {
        "images": len(images),
        "bits": {name: _counts(counted) for name, counted in own.items()},
        "other": _counts(other),
        "imagehash": _counts(peer),
    }


def _altered_looks(
    image: str, reader: ImageReader, limits: Limits
) -> tuple[list[Hashes | None], int]:
    data = reader.read(image, limits.max_image_bytes)
    return altered_looks(data), imagehash_of(data)


def imagehash_of(data: bytes) -> int:
    """imagehash's own hash of a whole image as stored, decoded at full scale."""
    return int(str(imagehash.phash(decode_rgb(data, Limits().max_pixels))), 16)


def _counts(histogram: npt.NDArray[np.int64]) -> dict[str, int]:
    return {str(bits): int(histogram[bits]) for bits in np.flatnonzero(histogram)}


def sampled(names: Sequence[str], most: int) -> list[int]:
    """Places of so many names, drawn by what they are and not by where they stand."""
    drawn = sorted(range(len(names)), key=lambda n: xxhash.xxh3_64_intdigest(names[n].encode()))
    return sorted(drawn[:most])


def recall_within(figures: Mapping[str, Any], max_bits: int) -> dict[str, Any]:
    """What `measured` counted, told for one distance up to which images match.

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
