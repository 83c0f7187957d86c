"""Arrow and Parquet files: written whole, with pinned settings, and read piece by piece."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.storage.atomic_write import written_aside
from imp_data.storage.block_checksums import seal
from imp_data.storage.checked_file import AGAIN, SealedFile
from imp_data.storage.object_path import ObjectPath
from imp_data.storage.range_reader import open_file

if TYPE_CHECKING:
    import polars as pl


@contextmanager
def arrow_writer(path: Path, schema: pa.Schema) -> Iterator[pa.ipc.RecordBatchFileWriter]:
    """An Arrow IPC file, uncompressed and sealed, whole or absent; equal batches, equal bytes."""
    with written_aside(path) as aside:
        with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            yield writer
        seal(aside)


@contextmanager
def parquet_writer(
    path: Path, schema: pa.Schema, sealed: bool = True
) -> Iterator[pq.ParquetWriter]:
    """A Parquet file with pinned settings; the same tables give the same bytes.

    What is published has its digest elsewhere, and is not sealed.
    """
    with written_aside(path) as aside:
        target = str(aside.absolute())
        with pq.ParquetWriter(target, schema, compression="zstd", version="2.6") as writer:
            yield writer
        if sealed:
            seal(aside)


def arrow_batches(
    path: Path, columns: Sequence[str] | None = None, span: tuple[int, int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The batches of a sealed Arrow file, one at a time, with some columns or all of them.

    Raises UserError where what is read of it is damaged.

    `span` asks for those from a first to before a last number alone.
    """
    with _opened(path, columns) as file:
        for number in range(*(span or (0, file.num_record_batches))):
            yield file.get_batch(number)


def arrow_batch_count(path: Path) -> int:
    """How many batches a sealed Arrow file has."""
    with _opened(path) as file:
        return int(file.num_record_batches)


def arrow_source(path: Path) -> pa.NativeFile:
    """A published file as Arrow reads it; its digest is to be checked first."""
    if isinstance(path, ObjectPath):
        return pa.PythonFile(open_file(path))
    return pa.OSFile(str(path), "rb")


def parquet_file(path: Path) -> pq.ParquetFile:
    """A sealed Parquet file; of one in an object store only what is asked for is fetched.

    Raises UserError where what is read of it is damaged.
    """
    return pq.ParquetFile(SealedFile(path))


def parquet_frame(path: Path) -> "pl.DataFrame":
    """All rows of a sealed Parquet file. Raises UserError where it is damaged."""
    import polars as pl

    frame = pl.from_arrow(parquet_file(path).read())
    assert isinstance(frame, pl.DataFrame)
    return frame


def published_parquet_file(path: Path, **options: Any) -> pq.ParquetFile:
    """A Parquet file without a seal: upstream's, or a mixture's, whose digest is checked first.

    `options` are those of pyarrow.parquet.ParquetFile.
    """
    # Absolute, since pyarrow and polars take s3:/x for a URL.
    return pq.ParquetFile(
        open_file(path) if isinstance(path, ObjectPath) else path.absolute(), **options
    )


def parquet_rows(path: Path) -> "pl.LazyFrame":
    """The rows of a published Parquet file; one in an object store is fetched as a whole.

    Its digest is to be checked first.
    """
    import polars as pl

    if not isinstance(path, ObjectPath):
        # A folder may be named x[1], which is no pattern here.
        return pl.scan_parquet(path.absolute(), glob=False)
    with open_file(path) as file:
        return pl.scan_parquet(file.read())


@contextmanager
def _opened(
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
            f"is not a whole Arrow file ({error})",
            AGAIN,
        ) from error


def value_counts(values: pa.Array) -> dict[Any, int]:
    """How often each value stands in a column."""
    counted = pc.value_counts(values)
    names, numbers = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return dict(zip(names, numbers, strict=True))
