"""Fingerprints of requested images, taken from earlier files or computed; fingerprint files."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from imp_data.errors import UserError
from imp_data.images.checkpoint import Checkpoint
from imp_data.images.decoding import decoder_version
from imp_data.images.embedded import block_of, reading_order
from imp_data.images.fingerprint import FINGERPRINT_SCHEMA, Fingerprint, fingerprint_images
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits
from imp_data.parallel import Crash, map_ordered
from imp_data.parallel.progress import Progress, progress
from imp_data.redaction import redact
from imp_data.storage.checked_file import check_sealed
from imp_data.storage.sorted_lookup import find_sorted
from imp_data.storage.tables import open_parquet, parquet_writer

_BATCH_IMAGES = 32
# A batch of one row group may be larger, because each batch decodes it from its start.
_BLOCK_IMAGES = 128

HashKeys = npt.NDArray[np.uint64]
ComputeFingerprints = Callable[[Sequence[str]], list[Fingerprint]]


def hash_image_paths(images: Sequence[str | None]) -> HashKeys:
    """Return the xxh3 of each image path: a key that takes less memory than the path.

    0 stands for text without an image.
    """
    digest = xxhash.xxh3_64_intdigest
    return np.array([0 if i is None else digest(i.encode()) for i in images], np.uint64)


class EarlierFingerprints:
    """Index the fingerprints of earlier runs by image, 16 bytes each; read rows on demand.

    A missing or damaged file is skipped: its images are fingerprinted again.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._groups: list[tuple[Path, int]] = []
        names = [np.zeros(0, np.uint64)]
        for path in paths:
            try:
                fresh = _names_of_groups(path)
            except UserError as error:
                message = f"{error.where}: {error.problem}; its images are fingerprinted again"
                print(redact(message), file=sys.stderr)
                continue
            names += fresh
            self._groups += [(path, n) for n in range(len(fresh))]
        all_names = np.concatenate(names)
        self._order = np.argsort(all_names, kind="stable")
        self._names = all_names[self._order]
        self._bounds = np.cumsum([len(some) for some in names])

    def places(self, names: HashKeys) -> npt.NDArray[np.int64]:
        """Return the row of each image; -1 if it is unknown."""
        if not len(self._names):
            return np.full(len(names), -1)
        places = find_sorted(self._names, names)
        return np.where(places < 0, -1, self._order[places])

    def take(self, rows: npt.NDArray[np.int64]) -> pa.Table:
        """Return these rows, in this order."""
        group = np.searchsorted(self._bounds, rows, side="right") - 1
        groups = np.unique(group)
        table = pa.concat_tables(_group(*self._groups[n]) for n in groups.tolist())
        starts = np.cumsum([0, *(self._bounds[g + 1] - self._bounds[g] for g in groups)])
        within = rows - self._bounds[group] + starts[np.searchsorted(groups, group)]
        return table.take(pa.array(within))


def _names_of_groups(path: Path) -> list[HashKeys]:
    check_sealed(path)  # find damage before any row is used
    with open_parquet(path) as file:
        check_decoder(path, file.schema_arrow)
        groups = (file.read_row_group(n, columns=["image"]) for n in range(file.num_row_groups))
        return [hash_image_paths(group.column("image").to_pylist()) for group in groups]


def _group(path: Path, number: int) -> pa.Table:
    with open_parquet(path) as file:
        # A finished file also holds decisions, which other rules may make otherwise.
        return file.read_row_group(
            number, columns=FINGERPRINT_SCHEMA.names
        ).replace_schema_metadata(None)


class FingerprintCache:
    """Return fingerprints of images: from earlier runs where they are known, else computed.

    Each image is requested once; `statuses` counts the images by status.
    """

    def __init__(
        self,
        reader: ImageReader,
        limits: Limits,
        bar: Progress,
        checkpoint: Checkpoint,
        earlier: Sequence[Path] = (),
    ) -> None:
        self._reader, self._limits = reader, limits
        self._bar, self._checkpoint = bar, checkpoint
        self._earlier = EarlierFingerprints([*earlier, *checkpoint.files])
        self.statuses: dict[str, int] = {}

    def __call__(self, images: Sequence[str]) -> pa.Table:
        """Return a table of one row for each image, in their order."""
        known = self._earlier.places(hash_image_paths(images))
        table = self._compute([image for image, row in zip(images, known, strict=True) if row < 0])
        if (known >= 0).any():
            order = np.empty(len(images), np.int64)
            order[known < 0] = np.arange(table.num_rows)
            order[known >= 0] = np.arange(table.num_rows, len(images))
            both = [table, self._earlier.take(known[known >= 0])]
            table = pa.concat_tables(both).take(pa.array(order))
        # One chunk, or the bytes of the file would depend on the number of chunks.
        table = table.combine_chunks()
        for counted in pc.value_counts(table.column("status").combine_chunks()).to_pylist():
            status = counted["values"]
            self.statuses[status] = self.statuses.get(status, 0) + counted["counts"]
        return table

    def _compute(self, images: Sequence[str]) -> pa.Table:
        """Compute fingerprints in the order in which the images lie in their files."""
        order = sorted(range(len(images)), key=lambda n: reading_order(images[n]))
        tables = [fingerprint_table([])]
        for rows in _compute_batches([images[n] for n in order], self._reader, self._limits):
            tables.append(fingerprint_table(rows))
            self._checkpoint.add(tables[-1])
            self._bar.add(len(rows))
        back = np.empty(len(images), np.int64)
        back[order] = np.arange(len(images))
        return pa.concat_tables(tables).take(pa.array(back))


def _compute_batches(
    images: Sequence[str], reader: ImageReader, limits: Limits
) -> Iterator[list[Fingerprint]]:
    """Yield fingerprints in batches. An image that crashes its decoder fails alone."""
    compute = partial(_fingerprints, reader=reader, limits=limits)
    pieces = _split(images, reader)
    seconds = limits.max_decode_seconds
    alone = partial(_one_by_one, compute, seconds)
    return map_ordered(compute, pieces, on_crash=alone, seconds=seconds)


def _split(images: Sequence[str], reader: ImageReader) -> Iterator[Sequence[str]]:
    """Split images into batches: of one row group, if they are in Parquet."""
    blocks = groupby(images, key=lambda image: block_of(image, reader.raw))
    for block, some in blocks:
        size = _BATCH_IMAGES if block is None else _BLOCK_IMAGES
        together = list(some)
        yield from (together[n : n + size] for n in range(0, len(together), size))


def _fingerprints(images: Sequence[str], reader: ImageReader, limits: Limits) -> list[Fingerprint]:
    return fingerprint_images(images, reader.prefetch(images, limits.max_image_bytes), limits)


def _one_by_one(
    compute: ComputeFingerprints, seconds: int, images: Sequence[str], _: Crash
) -> list[Fingerprint]:
    """Process a batch that crashed its process image by image: one image is the cause."""

    def crashed(one: Sequence[str], how: Crash) -> list[Fingerprint]:
        endless = f"keeps its decoder busy for more than {seconds} s"
        problem = endless if how.too_long else "crashes its decoder"
        return [Fingerprint(one[0], "undecodable", problem=problem)]

    alone = ([image] for image in images)
    computed = map_ordered(compute, alone, on_crash=crashed, seconds=seconds)
    return [row for rows in computed for row in rows]


def compute_fingerprints(
    label: str, images: Sequence[str], reader: ImageReader, limits: Limits
) -> list[Fingerprint]:
    """Fingerprint a list of images."""
    rows: list[Fingerprint] = []
    with progress(label, "images", len(images)) as bar:
        for some in _compute_batches(images, reader, limits):
            rows += some
            bar.add(len(some))
    return rows


@contextmanager
def fingerprint_writer(
    path: Path, schema: pa.Schema = FINGERPRINT_SCHEMA
) -> Iterator[pq.ParquetWriter]:
    """Open a fingerprint file for writing; its metadata name the decoder of the hashes."""
    with parquet_writer(path, schema.with_metadata({"decoder": decoder_version()})) as writer:
        yield writer


def write_fingerprints(path: Path, rows: Sequence[Fingerprint]) -> None:
    """Write a fingerprint file."""
    with fingerprint_writer(path) as writer:
        writer.write_table(fingerprint_table(rows).cast(writer.schema))


def fingerprint_table(rows: Sequence[Fingerprint]) -> pa.Table:
    """Return fingerprints as a table, one row each."""
    columns = list(zip(*rows, strict=True)) or [()] * len(FINGERPRINT_SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, FINGERPRINT_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=FINGERPRINT_SCHEMA)


def check_decoder(path: Path, schema: pa.Schema) -> None:
    """Raise UserError if other library versions made the hashes: a bit may differ."""
    made_by = (schema.metadata or {}).get(b"decoder", b"an unknown decoder").decode()
    if made_by != decoder_version():
        raise UserError(
            path,
            f"its hashes were made by {made_by}, here is {decoder_version()}",
            "build it again here, or install the versions of constraints.txt",
        )
