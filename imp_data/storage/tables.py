"""Write Arrow and Parquet files atomically with pinned settings, and read them in pieces."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.storage.atomic_write import write_atomically
from imp_data.storage.block_checksums import seal
from imp_data.storage.checked_file import REBUILD_REMEDY, SealedFile
from imp_data.storage.object_path import ObjectPath
from imp_data.storage.range_reader import open_file

if TYPE_CHECKING:
    import polars as pl


@contextmanager
def arrow_writer(path: Path, schema: pa.Schema) -> Iterator[pa.ipc.RecordBatchFileWriter]:
    """Write an uncompressed, sealed Arrow IPC file atomically; equal batches give equal bytes."""
    with write_atomically(path) as aside:
        with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            yield writer
        seal(aside)


@contextmanager
def parquet_writer(
    path: Path, schema: pa.Schema, sealed: bool = True
) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file with pinned settings; equal tables give equal bytes.

    Files to publish are not sealed, since their digest is stored elsewhere.
    """
    with write_atomically(path) as aside:
        target = str(aside.absolute())
        with pq.ParquetWriter(target, schema, compression="zstd", version="2.6") as writer:
            yield writer
        if sealed:
            seal(aside)


def read_batches(
    path: Path, columns: Sequence[str] | None = None, span: tuple[int, int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a sealed Arrow file, with all columns or the named ones.

    `span` limits them to a half-open range of batch numbers. Raise UserError if the bytes read are
    damaged.
    """
    with _open_arrow(path, columns) as file:
        for number in range(*(span or (0, file.num_record_batches))):
            yield file.get_batch(number)


def arrow_names(path: Path) -> list[str]:
    """Return the names of the columns of a sealed Arrow file."""
    with _open_arrow(path) as file:
        names: list[str] = file.schema.names
        return names


def arrow_batch_count(path: Path) -> int:
    """Return the number of batches of a sealed Arrow file."""
    with _open_arrow(path) as file:
        return int(file.num_record_batches)


def open_arrow_source(path: Path) -> pa.NativeFile:
    """Open a published file for Arrow; verify its digest first."""
    if isinstance(path, ObjectPath):
        return pa.PythonFile(open_file(path))
    return pa.OSFile(str(path), "rb")


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a sealed Parquet file; from an object store fetch only the ranges that are read.

    Raise UserError if the bytes read are damaged.
    """
    return pq.ParquetFile(SealedFile(path))


def read_parquet(path: Path) -> "pl.DataFrame":
    """Read all rows of a sealed Parquet file. Raise UserError if it is damaged."""
    import polars as pl

    frame = pl.from_arrow(open_parquet(path).read())
    assert isinstance(frame, pl.DataFrame)
    return frame


def open_published_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file without a seal, of upstream or a mixture; verify its digest first.

    `options` are those of pyarrow.parquet.ParquetFile.
    """
    # Absolute, because pyarrow and polars parse s3:/x as a URL.
    return pq.ParquetFile(
        open_file(path) if isinstance(path, ObjectPath) else path.absolute(), **options
    )


def scan_published_parquet(path: Path) -> "pl.LazyFrame":
    """Scan a published Parquet file, fetched as a whole from an object store.

    Verify its digest first.
    """
    import polars as pl

    if not isinstance(path, ObjectPath):
        # No glob, because a folder may be named x[1].
        return pl.scan_parquet(path.absolute(), glob=False)
    with open_file(path) as file:
        return pl.scan_parquet(file.read())


@contextmanager
def _open_arrow(
    path: Path, columns: Sequence[str] | None = None
) -> Iterator[pa.ipc.RecordBatchFileReader]:
    try:
        with pa.PythonFile(SealedFile(path), mode="r") as source:
            options = pa.ipc.IpcReadOptions()
            if columns is not None:
                names = pa.ipc.open_file(source).schema.names
                options.included_fields = [names.index(c) for c in columns]
            yield pa.ipc.open_file(source, options=options)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            path,
            f"is not a complete Arrow file ({error})",
            REBUILD_REMEDY,
        ) from error


def value_counts(values: pa.Array) -> dict[Any, int]:
    """Count each value of a column."""
    counted = pc.value_counts(values)
    names, numbers = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return dict(zip(names, numbers, strict=True))
