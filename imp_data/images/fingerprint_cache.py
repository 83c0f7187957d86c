"""Fingerprint files: the images a draw asks for, each looked at once, written as they come."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from imp_data.errors import UserError
from imp_data.images.checkpoint import Checkpoint
from imp_data.images.decoding import decoder
from imp_data.images.fingerprint import SCHEMA, Fingerprint, fingerprints
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits
from imp_data.parallel import Died, map_ordered
from imp_data.parallel.progress import Progress, progress
from imp_data.redaction import redacted
from imp_data.storage.checked_file import check_sealed
from imp_data.storage.sorted_lookup import find_sorted
from imp_data.storage.tables import parquet_file, parquet_writer

_BATCH_IMAGES = 32

Names = npt.NDArray[np.uint64]
Look = Callable[[Sequence[str]], list[Fingerprint]]


def hash_image_paths(images: Sequence[str | None]) -> Names:
    """xxh3 of each image's path, by which it is known where paths would take too much memory.

    0 stands for text without an image.
    """
    digest = xxhash.xxh3_64_intdigest
    return np.array([0 if i is None else digest(i.encode()) for i in images], np.uint64)


class EarlierFingerprints:
    """Fingerprints of earlier runs, found by image at 16 bytes each, read when asked for.

    A file that is gone or damaged is passed over: its images are looked at again.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._groups: list[tuple[Path, int]] = []
        names = [np.zeros(0, np.uint64)]
        for path in paths:
            try:
                fresh = _names_of_groups(path)
            except UserError as error:
                told = f"{error.where}: {error.problem}; its images are looked at again"
                print(redacted(told), file=sys.stderr)
                continue
            names += fresh
            self._groups += [(path, n) for n in range(len(fresh))]
        all_names = np.concatenate(names)
        self._order = np.argsort(all_names, kind="stable")
        self._names = all_names[self._order]
        self._bounds = np.cumsum([len(some) for some in names])

    def places(self, names: Names) -> npt.NDArray[np.int64]:
        """The row of each image in the file; -1 where it is not there."""
        if not len(self._names):
            return np.full(len(names), -1)
        places = find_sorted(self._names, names)
        return np.where(places < 0, -1, self._order[places])

    def take(self, rows: npt.NDArray[np.int64]) -> pa.Table:
        """These rows of the file, in this order."""
        group = np.searchsorted(self._bounds, rows, side="right") - 1
        groups = np.unique(group)
        table = pa.concat_tables(_group(*self._groups[n]) for n in groups.tolist())
        starts = np.cumsum([0, *(self._bounds[g + 1] - self._bounds[g] for g in groups)])
        within = rows - self._bounds[group] + starts[np.searchsorted(groups, group)]
        return table.take(pa.array(within))


def _names_of_groups(path: Path) -> list[Names]:
    check_sealed(path)  # what is damaged is to be known before any row of it is taken
    with parquet_file(path) as file:
        check_decoder(path, file.schema_arrow)
        groups = (file.read_row_group(n, columns=["image"]) for n in range(file.num_row_groups))
        return [hash_image_paths(group.column("image").to_pylist()) for group in groups]


def _group(path: Path, number: int) -> pa.Table:
    with parquet_file(path) as file:
        # A finished file also holds decisions, which other rules may make otherwise.
        return file.read_row_group(number, columns=SCHEMA.names).replace_schema_metadata(None)


class FingerprintCache:
    """Return fingerprints of images: from earlier runs where they are known, else computed.

    Each image is requested once; `statuses` counts the images by status.
    """

    def __init__(
        self,
        reader: ImageReader,
        limits: Limits,
        told: Progress,
        journal: Checkpoint,
        earlier: Sequence[Path] = (),
    ) -> None:
        self._shelf, self._limits = reader, limits
        self._told, self._journal = told, journal
        self._earlier = EarlierFingerprints([*earlier, *journal.files])
        self.statuses: dict[str, int] = {}

    def __call__(self, images: Sequence[str]) -> pa.Table:
        """Return a table of one row for each image, in their order."""
        known = self._earlier.places(hash_image_paths(images))
        made = self._made([image for image, row in zip(images, known, strict=True) if row < 0])
        if (known >= 0).any():
            order = np.empty(len(images), np.int64)
            order[known < 0] = np.arange(made.num_rows)
            order[known >= 0] = np.arange(made.num_rows, len(images))
            both = [made, self._earlier.take(known[known >= 0])]
            made = pa.concat_tables(both).take(pa.array(order))
        # In one piece, or the file's bytes would tell in how many pieces its rows were made.
        made = made.combine_chunks()
        for counted in pc.value_counts(made.column("status").combine_chunks()).to_pylist():
            status = counted["values"]
            self.statuses[status] = self.statuses.get(status, 0) + counted["counts"]
        return made

    def _made(self, images: Sequence[str]) -> pa.Table:
        tables = [fingerprint_table([])]
        for rows in _looked_at(images, self._shelf, self._limits):
            tables.append(fingerprint_table(rows))
            self._journal.add(tables[-1])
            self._told.add(len(rows))
        return pa.concat_tables(tables)


def _looked_at(
    images: Sequence[str], reader: ImageReader, limits: Limits
) -> Iterator[list[Fingerprint]]:
    """Fingerprints, some at a time. Whatever an image does to its decoder, it does to itself."""
    look = partial(_fingerprints, reader=reader, limits=limits)
    pieces = (images[n : n + _BATCH_IMAGES] for n in range(0, len(images), _BATCH_IMAGES))
    seconds = limits.max_decode_seconds
    alone = partial(_one_by_one, look, seconds)
    return map_ordered(look, pieces, on_crash=alone, seconds=seconds)


def _fingerprints(images: Sequence[str], reader: ImageReader, limits: Limits) -> list[Fingerprint]:
    return fingerprints(images, reader.gathered(images, limits.max_image_bytes), limits)


def _one_by_one(look: Look, seconds: int, images: Sequence[str], _: Died) -> list[Fingerprint]:
    """A batch that crashes its process, image by image: one of them is the cause."""

    def crashed(one: Sequence[str], how: Died) -> list[Fingerprint]:
        endless = f"keeps its decoder busy for more than {seconds} s"
        problem = endless if how.too_long else "crashes its decoder"
        return [Fingerprint(one[0], "undecodable", problem=problem)]

    alone = ([image] for image in images)
    looked = map_ordered(look, alone, on_crash=crashed, seconds=seconds)
    return [row for rows in looked for row in rows]


def fingerprints_of(
    label: str, images: Sequence[str], reader: ImageReader, limits: Limits
) -> list[Fingerprint]:
    """Fingerprints of a known list of images."""
    rows: list[Fingerprint] = []
    with progress(label, "images", len(images)) as told:
        for some in _looked_at(images, reader, limits):
            rows += some
            told.add(len(some))
    return rows


@contextmanager
def fingerprint_writer(path: Path, schema: pa.Schema = SCHEMA) -> Iterator[pq.ParquetWriter]:
    """A fingerprint file; the decoder that made the hashes stands in its metadata."""
    with parquet_writer(path, schema.with_metadata({"decoder": decoder()})) as writer:
        yield writer


def write_fingerprints(path: Path, rows: Sequence[Fingerprint]) -> None:
    """A fingerprint file of these rows."""
    with fingerprint_writer(path) as writer:
        writer.write_table(fingerprint_table(rows).cast(writer.schema))


def fingerprint_table(rows: Sequence[Fingerprint]) -> pa.Table:
    """Fingerprints as a table, row by row."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def read_fingerprints(path: Path) -> dict[str, Fingerprint]:
    """{image: fingerprint} of a file made by this machine's decoder."""
    file = parquet_file(path)
    check_decoder(path, file.schema_arrow)
    return {row["image"]: Fingerprint(**row) for row in file.read().to_pylist()}


def check_decoder(path: Path, schema: pa.Schema) -> None:
    """Hashes made by other library versions may differ in a bit, so they are never compared."""
    made_by = (schema.metadata or {}).get(b"decoder", b"an unknown decoder").decode()
    if made_by != decoder():
        raise UserError(
            path,
            f"its hashes were made by {made_by}, here is {decoder()}",
            "build it again here, or install the versions of constraints.txt",
        )
