"""Fingerprints of a stage that is under way: a run that is killed loses but the last of them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from imp_data.images.decoding import decoder
from imp_data.storage.paths import local_path
from imp_data.storage.tables import parquet_writer

# Some seconds' work, and a small file.
_IMAGES = 256


class Checkpoint:
    """A folder of fingerprint files, one for every so many images, each of them whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = sorted(folder.glob("*.parquet"))
        self._next = 1 + int(self.files[-1].stem) if self.files else 0
        self._pending: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Keep these rows; they are on disk once there are enough for a file."""
        self._pending.append(rows)
        if sum(table.num_rows for table in self._pending) >= _IMAGES:
            path = self._folder / f"{self._next:06d}.parquet"
            schema = rows.schema.with_metadata({"decoder": decoder()})
            with parquet_writer(path, schema) as writer:
                writer.write_table(pa.concat_tables(self._pending))
            self._next, self._pending = self._next + 1, []


@contextmanager
def open_checkpoint(folder: Path, images: str) -> Iterator[Checkpoint]:
    """What an interrupted run left of these images, given by their digest; removed when whole.

    What was left of other images, or by other code, is removed at once.
    """
    folder = local_path(folder)
    for other in folder.glob("*") if folder.is_dir() else ():
        if other.name != images:
            shutil.rmtree(other)
    yield Checkpoint(folder / images)
    if folder.is_dir():
        shutil.rmtree(folder)
