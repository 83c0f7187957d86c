"""Which of a mixture's pictures are the same, and which look alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from imp_data.exchanges import Rows
from imp_data.fingerprints import Names, check_decoder, picture_names
from imp_data.images.clusters import clusters, united
from imp_data.images.match import Hashes, Places
from imp_data.store import parquet_file

_BATCH_ROWS = 1 << 14


def same_pictures(rows: Rows) -> Places:
    """A number for each Sample's picture: equal where path or bytes are; -1 without a picture."""
    count, path = _numbered(rows.image)
    order = np.flatnonzero((rows.image != 0) & (rows.sha256 != 0)).astype(np.int32)
    order = order[np.argsort(rows.sha256[order], kind="stable")]
    digests = rows.sha256[order]
    same = np.flatnonzero(digests[1:] == digests[:-1])  # each with the next
    labels = united(np.arange(count), path[order[same]], path[order[same + 1]])
    return np.where(rows.image == 0, -1, labels[path])


def _numbered(names: Names) -> tuple[int, npt.NDArray[np.int32]]:
    """How many names differ, and the rank of each; np.unique would take twice the memory."""
    ranked = np.sort(names)
    fresh = np.ones(len(ranked), np.bool_)
    np.not_equal(ranked[1:], ranked[:-1], out=fresh[1:])
    ranked = ranked[fresh]
    return len(ranked), np.searchsorted(ranked, names).astype(np.int32)


def alike_pictures(
    rows: Rows, picture: Places, fingerprints: Sequence[Path], max_bits: int
) -> Places:
    """A number for each Sample's cluster of pictures within `max_bits`; -1 where no hash is known.

    A picture counts as stored and as its EXIF orientation turns it: a copy may be either.
    """
    owner, hashes = _hashed(rows, picture, fingerprints)
    same = np.flatnonzero(owner[1:] == owner[:-1])
    labels = united(clusters(hashes, max_bits), same, same + 1)
    if not len(owner):
        return np.full(len(picture), -1)
    entry = np.searchsorted(owner, picture).clip(max=len(owner) - 1)
    return np.where(owner[entry] == picture, labels[entry], -1)


def _hashed(rows: Rows, picture: Places, fingerprints: Sequence[Path]) -> tuple[Places, Hashes]:
    """Pictures, ascending, and a hash of each; a picture that is turned has two."""
    paths, row = np.unique(rows.image, return_index=True)
    owner, hashes = bytearray(), bytearray()
    for file in fingerprints if len(paths) else ():
        opened = parquet_file(file)
        check_decoder(file, opened.schema_arrow)
        for batch in opened.iter_batches(_BATCH_ROWS, columns=["image", "phash", "phash_upright"]):
            names = picture_names(batch["image"].to_pylist())
            place = np.searchsorted(paths, names).clip(max=len(paths) - 1)
            for column in (batch["phash"], batch["phash_upright"]):
                known = column.is_valid().to_numpy(zero_copy_only=False) & (paths[place] == names)
                owner += picture[row[place[known]]].tobytes()
                hashes += pc.fill_null(column, 0).to_numpy(zero_copy_only=False)[known].tobytes()
    order = np.argsort(np.frombuffer(owner, np.int64), kind="stable")
    return np.frombuffer(owner, np.int64)[order], np.frombuffer(hashes, np.uint64)[order]
