"""Read records from the rows of Parquet files, with images left in their columns."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Limits
from imp_data.records.record_chunk import Chunk
from imp_data.records.tables.image_columns import (
    ImageColumn,
    find_image_columns,
    is_base64_image,
    name_images,
)
from imp_data.records.tables.json_images import name_inner_images
from imp_data.records.tables.parquet_lookup import read_rows_at
from imp_data.records.tables.parquet_rows import (
    READ_ERRORS,
    Columns,
    RowGroup,
    RowRange,
    damaged_file_error,
    lost_rows,
    open_upstream,
    read_row_groups,
    split_into_ranges,
    survey_row_groups,
)
from imp_data.sample import UpstreamRecord
from imp_data.storage.digests import file_version


class ParquetTable(NamedTuple):
    """The columns of a Parquet file: those to read, and those of images."""

    columns: Columns
    images: dict[str, ImageColumn]


def parquet_chunks(
    files: Iterable[tuple[Path, Columns]],
    limits: Limits,
    needed: tuple[str, ...] = (),
    ordinal: int = 0,
) -> Iterator[Chunk]:
    """Yield chunks within one row group; `starts` are rows of it, `groups` rows of all files.

    Ordinals begin at `ordinal`. Rows that are lost together share one entry. Raise UserError if a
    file lacks the columns `needed`, or if no row of all files can be read.
    """
    upstream = 0
    unread: tuple[Path, RowRange] | None = None
    read = False
    for file, columns in files:
        groups, footer_rows = read_row_groups(file, needed)
        ranges = list[RowRange]()
        for found in survey_row_groups(groups, columns, limits):
            ranges += split_into_ranges(found)
        counted = sum(group.footer_rows for group in groups)
        if footer_rows != counted and not any(row_range.problem for row_range in ranges):
            ranges.append(lost_rows(file, footer_rows, counted))
        for row_range in ranges:
            chunk = _chunk(row_range, ordinal, upstream, limits.max_record_bytes)
            yield chunk
            ordinal += len(chunk.ordinals)
            upstream += row_range.rows
            read = read or row_range.problem is None
            unread = unread or (file, row_range)
    if unread is not None and not read:
        raise damaged_file_error(unread[0], unread[1].problem)


def _chunk(row_range: RowRange, ordinal: int, upstream: int, max_bytes: int) -> Chunk:
    positions = np.arange(row_range.rows if row_range.problem is None else 1)
    starts = row_range.begin + positions
    if row_range.problem is None:
        rejections = {
            ordinal + row - row_range.begin: Verdict(
                Reason.RECORD_TOO_LARGE, {"bytes": size, "most": max_bytes}
            )
            for row, size in row_range.large.items()
        }
    else:
        rejections = {ordinal: Verdict(Reason.ROWS_LOST, row_range.evidence())}
    return Chunk(
        (row_range.group.file,),
        np.zeros(len(positions), np.int64),
        starts,
        starts + 1,
        upstream + positions,
        ordinal + positions,
        rejections,
        kind="parquet",
        row_group=row_range.group.number,
    )


def read_parquet_chunk(chunk: Chunk, columns: Columns) -> Iterator[UpstreamRecord]:
    """Yield the rows of a chunk as records; rejected rows are not read."""
    group = RowGroup(chunk.files[0], chunk.row_group, 0)
    rejections = [chunk.rejections.get(ordinal) for ordinal in chunk.ordinals.tolist()]
    try:
        readable = chunk.starts[np.array([not one for one in rejections], np.bool_)]
        values = read_rows_at(group, columns, readable)
        for ordinal, number, verdict in zip(
            chunk.ordinals.tolist(), chunk.groups.tolist(), rejections, strict=True
        ):
            value = verdict or next(values)
            no = value if isinstance(value, Verdict) else None
            yield UpstreamRecord(
                ordinal, None if no else value, rejection=no, upstream_number=number
            )
    except READ_ERRORS as error:
        raise damaged_file_error(chunk.files[0], error) from error


def name_parquet_images(
    chunk: Chunk, table: ParquetTable, record: UpstreamRecord, row: int
) -> None:
    """Replace the image cells of a record, a row of the chunk's row group, by the images' names."""
    if isinstance(record.value, dict):
        first = _first_rows(chunk.files[0], file_version(chunk.files[0]))[chunk.row_group]
        name_images(record.value, first + row, table.images, chunk.name)
        name_inner_images(record.value, first + row, chunk.name)


@lru_cache(maxsize=64)
def _first_rows(file: Path, version: object) -> list[int]:
    """Return the first row of each row group, counted in the file by its footer."""
    groups, _ = read_row_groups(file, ())
    return [0, *np.cumsum([group.footer_rows for group in groups]).tolist()]


def describe_table(file: Path, named: frozenset[str]) -> ParquetTable:
    """Return the columns of a file; `named` are those that the manifest says hold images."""
    return _describe_table(file, file_version(file), named)


@lru_cache(maxsize=64)
def _describe_table(file: Path, version: object, named: frozenset[str]) -> ParquetTable:
    parquet = open_upstream(file)
    schema = parquet.schema_arrow
    images = find_image_columns(schema, named)
    for name in schema.names:
        if name.lower() in {"image", "images", *named} and _is_base64(parquet, name):
            images[name] = ImageColumn(name, several=False, plain=True)
    leaves = [parquet.schema.column(n).path for n in range(len(parquet.schema))]
    read, absent = list[str](), list[str]()
    for name in schema.names:
        column = images.get(name)
        if column is None:
            read.append(name)
        elif column.plain:
            if column.several:
                raise _uncountable_error(file, name)
            absent.append(name)
        else:
            # The null of a struct or the length of a list shows in any leaf, so in the shortest.
            own = [leaf for leaf in leaves if leaf.startswith(f"{name}.")]
            read.append(next(leaf for leaf in own if not leaf.endswith(".bytes")))
            if _holds_no_bytes(parquet, next(leaf for leaf in own if leaf.endswith(".bytes"))):
                images[name] = column._replace(holds="path")
    return ParquetTable(Columns(tuple(read), tuple(absent)), images)


def _is_base64(parquet: pq.ParquetFile, name: str) -> bool:
    """Return whether the first text of a column is an image as base64."""
    kind = parquet.schema_arrow.field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return False
    batch = next(parquet.iter_batches(1, columns=[name], use_threads=False), None)
    text = "" if batch is None else batch.column(0)[0].as_py()
    return is_base64_image(str(text or ""))


def _holds_no_bytes(parquet: pq.ParquetFile, leaf: str) -> bool:
    """Return whether a leaf is null in every row: then the images are files of their own."""
    metadata = parquet.metadata
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            if column.path_in_schema == leaf:
                counted = column.statistics
                if counted is None or counted.null_count != column.num_values:
                    return False
    return int(metadata.num_rows) > 0


def _uncountable_error(file: Path, name: str) -> UserError:
    return UserError(
        file,
        f"column {name} holds lists of plain bytes, whose number only the bytes tell",
        "write it as a list of struct<bytes, path>, as the Image feature of `datasets` does",
    )
