"""Random access to a mixture's rows through memory-mapped shards."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from imp_data.errors import UserError
from imp_data.mixture.folder import consistent_read
from imp_data.sample import image_column


class Shards:
    """The rows of a mixture's folder, by number. A pickle holds the path alone.

    Unpickling raises UserError if a build has replaced the mixture in the meantime.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fingerprint = self._open()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def image_column(self) -> str:
        """The name of the column with the images: `image`, or `images` with lists of them."""
        return image_column(self._batches[0].schema.names if self._batches else ())

    def row(self, number: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return some columns of one row. Raise IndexError unless 0 <= number < len(self)."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = bisect_right(self._ends, number)
        batch, ends = self._batches[place], self._ends[place]
        within = number - (ends - len(batch))
        return {name: batch.column(name)[within].as_py() for name in columns}

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield some columns of all rows in order, one record batch at a time."""
        for batch in self._batches:
            yield pl.DataFrame(batch.select(list(columns)))

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_fingerprint": self._fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._open() != self._fingerprint:
            raise UserError(
                self.folder,
                "was replaced by another mixture after this command started",
                "run the same command again",
            )

    def _open(self) -> str:
        """Map the shards, and return the mixture's `datasets` fingerprint.

        Mapping reads only the headers of the batches; pages are loaded when used.
        """
        with consistent_read(self.folder):
            try:
                state = orjson.loads((self.folder / "state.json").read_bytes())
                files = [self.folder / file["filename"] for file in state["_data_files"]]
                self._batches = [
                    batch for file in files for batch in _map_batches(file) if len(batch)
                ]
                fingerprint: str = state["_fingerprint"]
            except (OSError, pa.ArrowException, orjson.JSONDecodeError, KeyError) as error:
                raise UserError(
                    self.folder,
                    f"is not the folder of a complete mixture ({error})",
                    "name the folder of one; `imp-data verify` reports what is wrong with it",
                ) from error
        self._ends = list(accumulate(len(batch) for batch in self._batches))
        return fingerprint


def _map_batches(path: Path) -> list[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        return list(pa.ipc.open_stream(source))
