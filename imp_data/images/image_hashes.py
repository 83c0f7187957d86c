"""The perceptual hashes of an image: as stored, and upright as its EXIF orientation turns it.

A copy of an image may have been saved in either way, so every comparison uses both hashes.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.images.hamming import Hashes, Places

HASH_COLUMNS = ("phash", "phash_upright")


class ImageHashes(NamedTuple):
    """Two hashes for each image, stored and upright; equal where EXIF turns nothing.

    An image that is not `hashed` is broken or flat: its two values have no meaning.
    """

    both: Hashes
    hashed: npt.NDArray[np.bool_]


class HashEntries(NamedTuple):
    """Each distinct hash of each image, with the row of its image.

    Rows ascend; the stored hash comes before the upright one.
    """

    hashes: Hashes
    rows: Places


def read_hashes(fingerprints: pa.Table | pa.RecordBatch) -> ImageHashes:
    """Read the hashes from the rows of a fingerprint file."""
    stored, upright = (fingerprints[name] for name in HASH_COLUMNS)
    columns = (pc.fill_null(column, 0) for column in (stored, pc.coalesce(upright, stored)))
    both = np.stack([np.asarray(column) for column in columns], axis=1)
    return ImageHashes(both.astype(np.uint64, copy=False), np.asarray(stored.is_valid()))


def hash_entries(images: ImageHashes) -> HashEntries:
    """List the hashes to compare: one for most images, two for those that EXIF turns."""
    distinct = np.stack([images.hashed, images.hashed], axis=1)
    distinct[:, 1] &= images.both[:, 0] != images.both[:, 1]
    return HashEntries(images.both[distinct], np.nonzero(distinct)[0])
