"""Save fingerprints of a running stage, so that a killed run loses only the last of them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from imp_data.images.decoding import decoder_version
from imp_data.storage.paths import local_path
from imp_data.storage.tables import parquet_writer

# A few seconds of work, and a small file.
_IMAGES = 256


class Checkpoint:
    """A folder of fingerprint files, one for every 256 images, each of them complete."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = sorted(folder.glob("*.parquet"))
        self._next = 1 + int(self.files[-1].stem) if self.files else 0
        self._pending: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Add rows; they are written once there are enough for a file."""
        self._pending.append(rows)
        if sum(table.num_rows for table in self._pending) >= _IMAGES:
            path = self._folder / f"{self._next:06d}.parquet"
            schema = rows.schema.with_metadata({"decoder": decoder_version()})
            with parquet_writer(path, schema) as writer:
                writer.write_table(pa.concat_tables(self._pending))
            self._next, self._pending = self._next + 1, []


@contextmanager
def open_checkpoint(folder: Path, images: str) -> Iterator[Checkpoint]:
    """Open the checkpoint of these images, given by their digest; delete it when the run succeeds.

    Checkpoints of other images, or of other code, are deleted at once.
    """
    folder = local_path(folder)
    for other in folder.glob("*") if folder.is_dir() else ():
        if other.name != images:
            shutil.rmtree(other)
    yield Checkpoint(folder / images)
    if folder.is_dir():
        shutil.rmtree(folder)
