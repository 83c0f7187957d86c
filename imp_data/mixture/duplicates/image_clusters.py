"""Number a mixture's images, and cluster those that are near-duplicates."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imp_data.images import image_hashes
from imp_data.images.clusters import cluster_hashes, rank_distinct, union_labels
from imp_data.images.fingerprint_cache import check_decoder, hash_image_paths
from imp_data.images.hamming import Hashes
from imp_data.images.image_hashes import HASH_COLUMNS, hash_entries
from imp_data.mixture.duplicates.qa_pairs import Groups, Rows
from imp_data.storage.sorted_lookup import find_sorted
from imp_data.storage.tables import open_parquet

_BATCH_ROWS = 1 << 14


class Hashed(NamedTuple):
    """Image numbers, ascending, each with a hash; an image with an EXIF orientation has two."""

    image: Groups
    hash: Hashes


def number_images(rows: Rows) -> Groups:
    """Return each Sample's image number: equal for equal paths or bytes; -1 without an image."""
    paths, path = rank_distinct(rows.image)
    order = np.flatnonzero((rows.image != 0) & (rows.sha256 != 0)).astype(np.int32)
    order = order[np.argsort(rows.sha256[order], kind="stable")]
    digests = rows.sha256[order]
    same = np.flatnonzero(digests[1:] == digests[:-1])  # pairs of adjacent rows
    labels = union_labels(np.arange(len(paths)), path[order[same]], path[order[same + 1]])
    return np.where(rows.image == 0, -1, labels[path]).astype(np.int32)


def cluster_images(image: Groups, hashed: Hashed, max_bits: int) -> Groups:
    """Return each Sample's cluster of images within `max_bits`; -1 where no hash is known.

    Compare an image both as stored and as its EXIF orientation turns it: a copy may be either.
    """
    owner, hashes = hashed
    same = np.flatnonzero(owner[1:] == owner[:-1])
    labels = union_labels(cluster_hashes(hashes, max_bits), same, same + 1)
    if not len(owner):
        return np.full(len(image), -1, np.int32)
    entry = find_sorted(owner, image)
    return np.where(entry < 0, -1, labels[entry]).astype(np.int32)


def read_hashes(rows: Rows, image: Groups, fingerprints: Sequence[Path]) -> Hashed:
    """Read the hashes of the mixture's images from fingerprint files."""
    paths, path = rank_distinct(rows.image)
    number = np.empty(len(paths), np.int32)
    number[path] = image
    del path
    owner, hashes = bytearray(), bytearray()
    for file in fingerprints if len(paths) else ():
        opened = open_parquet(file)
        check_decoder(file, opened.schema_arrow)
        for batch in opened.iter_batches(_BATCH_ROWS, columns=["image", *HASH_COLUMNS]):
            found = find_sorted(paths, hash_image_paths(batch["image"].to_pylist()))
            entries = hash_entries(image_hashes.read_hashes(batch))
            places = found[entries.rows]
            owner += number[places[places >= 0]].tobytes()
            hashes += entries.hashes[places >= 0].tobytes()
    del paths, number  # the sort below allocates as much
    order = np.argsort(np.frombuffer(owner, np.int32), kind="stable")
    return Hashed(np.frombuffer(owner, np.int32)[order], np.frombuffer(hashes, np.uint64)[order])
