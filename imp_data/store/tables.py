"""Arrow and Parquet files: written whole, with pinned settings, and read piece by piece."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.places import in_store
from imp_data.ranges import opened
from imp_data.store.files import written_aside

if TYPE_CHECKING:
    import polars as pl


@contextmanager
def arrow_writer(path: Path, schema: pa.Schema) -> Iterator[pa.ipc.RecordBatchFileWriter]:
    """An Arrow IPC file, uncompressed, whole or absent; the same batches give the same bytes."""
    with (
        written_aside(path) as aside,
        pa.OSFile(str(aside), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        yield writer


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A Parquet file with pinned settings; the same tables give the same bytes."""
    with (
        written_aside(path) as aside,
        pq.ParquetWriter(str(aside), schema, compression="zstd", version="2.6") as writer,
    ):
        yield writer


def arrow_batches(
    path: Path, columns: Sequence[str] | None = None, span: tuple[int, int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC file, one at a time, with some columns or all of them.

    `span` asks for those from a first to before a last number alone.
    """
    with _opened(path, columns) as file:
        for number in range(*(span or (0, file.num_record_batches))):
            yield file.get_batch(number)


def arrow_batch_count(path: Path) -> int:
    """How many batches an Arrow IPC file has."""
    with _opened(path) as file:
        return int(file.num_record_batches)


def arrow_source(path: Path) -> pa.NativeFile:
    """A file as Arrow reads it."""
    return pa.PythonFile(opened(path)) if in_store(path) else pa.OSFile(str(path), "rb")


def parquet_file(path: Path, **options: Any) -> pq.ParquetFile:
    """A Parquet file; of one in an object store only what is asked for is fetched.

    `options` are those of pyarrow.parquet.ParquetFile.
    """
    return pq.ParquetFile(opened(path) if in_store(path) else path, **options)


def parquet_rows(path: Path) -> "pl.LazyFrame":
    """A Parquet file's rows; one in an object store is fetched as a whole."""
    import polars as pl

    if in_store(path) is None:
        return pl.scan_parquet(path)
    with opened(path) as file:
        return pl.scan_parquet(file.read())


@contextmanager
def _opened(
    path: Path, columns: Sequence[str] | None = None
) -> Iterator[pa.ipc.RecordBatchFileReader]:
    try:
        with arrow_source(path) as source:
            options = pa.ipc.IpcReadOptions()
            if columns is not None:
                names = pa.ipc.open_file(source).schema.names
                options.included_fields = [names.index(c) for c in columns]
            yield pa.ipc.open_file(source, options=options)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            path,
            f"is not a whole Arrow file ({error})",
            "move it elsewhere and build it again: its stage does so by itself then",
        ) from error


def value_counts(values: pa.Array) -> dict[Any, int]:
    """How often each value stands in a column."""
    counted = pc.value_counts(values)
    names, numbers = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return dict(zip(names, numbers, strict=True))
