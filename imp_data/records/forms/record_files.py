"""Read the records of files of any kind as dicts, with images left where they are.

The kind of a file follows from its first bytes: JSON text, Parquet, Arrow, or a tar.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from imp_data.ledger import Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.forms.images import image_columns
from imp_data.records.forms.settings import form_settings, image_column_names
from imp_data.records.json_array.parse import parse
from imp_data.records.layouts.base import (
    chunk_records,
    list_record_files,
    parse_rows,
    read_groups,
)
from imp_data.records.record_chunk import Chunk, FileKind
from imp_data.records.tables.arrow_table import arrow_chunks, read_arrow_chunk
from imp_data.records.tables.json_images import BASE64_MARKS, name_json_images
from imp_data.records.tables.parquet_table import (
    describe_table,
    name_parquet_images,
    parquet_chunks,
    read_parquet_chunk,
)
from imp_data.records.tables.row_images import name_row_images
from imp_data.records.tables.webdataset import read_tar_chunk, tar_chunks
from imp_data.sample import RejectedRecord, UpstreamRecord
from imp_data.storage.decompressed import upstream_name
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind
from imp_data.storage.range_reader import read_files

# An image as base64 in JSON text: a `data:` URI, or the first characters of JPEG, PNG, GIF, WebP.
# They also stand in JSON text within a text, whose quotes are escaped.
_BASE64_MARKS = tuple(mark.strip('"').encode() for mark in BASE64_MARKS)
_KINDS: dict[str, FileKind] = {"parquet": "parquet", "arrow": "arrow", "tar": "tar"}


def record_chunks(folder: Path, source: Source, limits: Limits) -> Iterator[Chunk]:
    """Yield the chunks of all files of a source, in the manifest's order."""
    named = image_column_names(source)
    ordinal = 0
    for kind, some in groupby(list_record_files(folder, source), _kind_of):
        for chunk in _chunks(kind, list(some), named, limits, ordinal):
            yield chunk._replace(name=upstream_name(folder, chunk.files[0]))
            ordinal += len(chunk.ordinals)


def _kind_of(file: Path) -> FileKind:
    return _KINDS.get(detect_kind(next(read_files([file], HEAD_BYTES))) or "", "json")


def _chunks(
    kind: FileKind, files: Sequence[Path], named: frozenset[str], limits: Limits, ordinal: int
) -> Iterator[Chunk]:
    match kind:
        case "parquet":
            # One by one: a caller that needs the first records reads no footer of the other files.
            tables = ((file, describe_table(file, named).columns) for file in files)
            return parquet_chunks(tables, limits, ordinal=ordinal)
        case "arrow":
            return arrow_chunks(files, limits, ordinal)
        case "tar":
            return tar_chunks(files, limits, ordinal)
    return chunk_records(files, frozenset(), limits, ordinal=ordinal)


def read_records(chunk: Chunk, source: Source) -> Iterator[list[UpstreamRecord]]:
    """Yield each record of a chunk by itself, with the names of its images."""
    if source.image_rows is None:
        yield from _read_records(chunk, source)
        return
    columns = image_columns(form_settings(source))
    for rows in _read_records(chunk, source):
        for row in parse_rows(rows):
            if not isinstance(row, RejectedRecord):
                name_row_images(row.value, columns, source.image_rows, chunk.name)
        yield rows


def _read_records(chunk: Chunk, source: Source) -> Iterator[list[UpstreamRecord]]:
    named = image_column_names(source)
    match chunk.kind:
        case "parquet":
            table = describe_table(chunk.files[0], named)
            for record, row in zip(
                read_parquet_chunk(chunk, table.columns), chunk.starts.tolist(), strict=True
            ):
                name_parquet_images(chunk, table, record, row)
                yield [record]
        case "arrow":
            yield from ([record] for record in read_arrow_chunk(chunk, named))
        case "tar":
            yield from ([record] for record in read_tar_chunk(chunk))
        case "json":
            yield from _read_json(chunk, source)


def _read_json(chunk: Chunk, source: Source) -> Iterator[list[UpstreamRecord]]:
    spans = zip(chunk.starts.tolist(), chunk.ends.tolist(), strict=True)
    for rows, (start, end) in zip(read_groups(chunk, source), spans, strict=True):
        for row in rows:
            if any(mark in row.raw for mark in _BASE64_MARKS):
                _name_images(row, chunk.name, start, end)
        yield rows


def _name_images(row: UpstreamRecord, file: str, start: int, end: int) -> None:
    """Parse a record, and replace the images in it."""
    parsed = parse(row.raw)
    if isinstance(parsed, Verdict):
        row.rejection = parsed
        return
    value, repairs = parsed
    row.value = name_json_images(value, file, start, end)
    row.repairs += repairs
