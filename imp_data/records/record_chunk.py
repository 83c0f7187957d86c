"""Define a chunk of records: where they are in their files, and which must not be read."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.ledger import Reason, Verdict
from imp_data.records.json_array.spans import Offsets

FileKind = Literal["json", "parquet", "arrow", "tar"]

CHUNK_ROWS = 2048


class Chunk(NamedTuple):
    """Records that are read together, with one entry per record in each column.

    `file_numbers`, `starts` and `ends` locate each record; consecutive records with the same
    `groups` number share an image; `ordinals` are the positions upstream. `rejections` maps the
    ordinals of records that must not be read to the reason. `kind` says what `starts` and `ends`
    are: bytes of a JSON file, or rows of a table, of its row group `row_group` if it has any.
    `name` is the file's path below the source's raw folder. `parts` are the chunks, of one file
    each, that have the records if these lie in several: then only `groups` and `ordinals` count.
    """

    files: tuple[Path, ...]
    file_numbers: Offsets
    starts: Offsets
    ends: Offsets
    groups: Offsets
    ordinals: Offsets
    rejections: Mapping[int, Verdict] = {}
    kind: FileKind = "json"
    row_group: int = 0
    name: str = ""
    parts: tuple["Chunk", ...] = ()

    def select(self, rows: npt.NDArray[np.bool_] | slice) -> "Chunk":
        """Return some of the records."""
        numbers, starts, ends = self.file_numbers[rows], self.starts[rows], self.ends[rows]
        return self._replace(
            file_numbers=numbers,
            starts=starts,
            ends=ends,
            groups=self.groups[rows],
            ordinals=self.ordinals[rows],
        )

    def split(self) -> Iterator["Chunk"]:
        """Split into single records, or into records that share an image."""
        bounds = [0, *(np.flatnonzero(np.diff(self.groups)) + 1).tolist(), len(self.groups)]
        for first, last in pairwise(bounds):
            yield self.select(slice(first, last))


def readable_sizes(sizes: Offsets, max_bytes: int) -> Offsets:
    """Return how many bytes of each record are read: none of a record that is too large."""
    return np.where(sizes > max_bytes, 0, sizes)


def find_too_large(ordinals: Offsets, sizes: Offsets, max_bytes: int) -> dict[int, Verdict]:
    """Return the verdict for each record above the size limit, by ordinal."""
    if not (sizes > max_bytes).any():
        return {}
    over = zip(ordinals[sizes > max_bytes].tolist(), sizes[sizes > max_bytes].tolist(), strict=True)
    return {
        ordinal: Verdict(Reason.RECORD_TOO_LARGE, {"bytes": size, "most": max_bytes})
        for ordinal, size in over
    }
