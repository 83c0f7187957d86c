"""Which of a mixture's pictures are the same, and which look alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from imp_data.exchanges import Rows
from imp_data.fingerprints import check_decoder, picture_names
from imp_data.images.clusters import clusters, united
from imp_data.images.match import Places
from imp_data.store import parquet_file


def same_pictures(rows: Rows) -> Places:
    """A number for each Sample's picture: equal where path or bytes are; -1 without a picture."""
    paths, path = np.unique(rows.image, return_inverse=True)
    order = np.argsort(rows.sha256, kind="stable")
    order = order[(rows.sha256[order] != 0) & (rows.image[order] != 0)]
    same = np.flatnonzero(np.diff(rows.sha256[order]) == 0)  # each with the next
    labels = united(np.arange(len(paths)), path[order[same]], path[order[same + 1]])
    return np.where(rows.image == 0, -1, labels[path])


def alike_pictures(
    rows: Rows, picture: Places, fingerprints: Sequence[Path], max_bits: int
) -> Places:
    """A number for each Sample's cluster of pictures within `max_bits`; -1 where no hash is known.

    A picture counts as stored and as its EXIF orientation turns it: a copy may be either.
    """
    paths, row = np.unique(rows.image, return_index=True)
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.uint64))]
    for file in fingerprints:
        opened = parquet_file(file)
        check_decoder(file, opened.schema_arrow)
        for batch in opened.iter_batches(columns=["image", "phash", "phash_upright"]):
            names = picture_names(batch["image"].to_pylist())
            place = np.searchsorted(paths, names).clip(max=max(len(paths) - 1, 0))
            for column in (batch["phash"], batch["phash_upright"]):
                hashed = column.is_valid().to_numpy(zero_copy_only=False)
                hashed &= paths[place] == names if len(paths) else False
                hashes = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)[hashed]
                parts.append((picture[row[place[hashed]]], hashes.astype(np.uint64)))
    owner, hashes = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(owner, kind="stable")
    owner, hashes = owner[order], hashes[order]
    same = np.flatnonzero(owner[1:] == owner[:-1])
    labels = united(clusters(hashes, max_bits), same, same + 1)
    if not len(owner):
        return np.full(len(picture), -1)
    entry = np.searchsorted(owner, picture).clip(max=len(owner) - 1)
    return np.where(owner[entry] == picture, labels[entry], -1)
