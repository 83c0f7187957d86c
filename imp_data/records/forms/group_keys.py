"""Hash what identifies the image of each record: the columns that `group_by` names."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from imp_data.manifests import Source
from imp_data.records.forms.record_files import read_records
from imp_data.records.forms.settings import image_column_names
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.base import read_elements
from imp_data.records.record_chunk import Chunk
from imp_data.records.tables.arrow_table import text_sizes
from imp_data.records.tables.parquet_rows import (
    READ_ERRORS,
    RowGroup,
    limit_memory,
    open_upstream,
    read_batches,
    row_sizes,
)
from imp_data.records.tables.parquet_table import describe_table
from imp_data.storage.arrow_batches import open_batches

# Each record counts for some bytes more than its texts.
_RECORD_BYTES = 64
# Images are decoded a few at a time, so that a row group is never in memory as a whole.
_ROWS_AT_ONCE = 8

Hashes = npt.NDArray[np.uint64]


class KeyHashes(NamedTuple):
    """The key hash of each record, its size in bytes, and the columns that any record has.

    A record without a key, or one that cannot be read, has a hash of its own.
    """

    hashes: Hashes
    sizes: Offsets
    present: frozenset[str]
    columns: tuple[str, ...]


def key_value(value: Any) -> Any:
    """Return what counts of a column's value: of an image, its bytes' sha256; None if it is null.

    An object of the Image feature counts by its bytes if it has them, whatever its path.
    """
    match value:
        case bytes():
            return hashlib.sha256(value).hexdigest()
        case dict():
            data = value.get("bytes")
            parts = {name: key_value(part) for name, part in value.items()}
            has_parts = any(part is not None for part in parts.values())
            return key_value(data) if data is not None else parts if has_parts else None
        case list():
            return [key_value(one) for one in value] or None
    return value


def hash_keys(chunks: Sequence[Chunk], source: Source) -> KeyHashes:
    """Return the hashes of the records of chunks of one file; a pure function of them."""
    parts = [_hash_chunk(chunk, source) for chunk in _merge(chunks)]
    return KeyHashes(
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        frozenset().union(*(part.present for part in parts)),
        parts[0].columns,
    )


def unreadable_keys(chunks: Sequence[Chunk]) -> KeyHashes:
    """Return the hashes of records whose keys crash their reader."""
    ordinals = np.concatenate([chunk.ordinals for chunk in chunks])
    return KeyHashes(_own_hashes(ordinals), np.zeros_like(ordinals), frozenset(), ())


def _merge(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    """Merge the chunks of one row group, which is then decoded once."""
    if len(chunks) == 1:
        return chunks

    def joined(column: Callable[[Chunk], Offsets]) -> Offsets:
        return np.concatenate([column(chunk) for chunk in chunks])

    rejections = {o: verdict for chunk in chunks for o, verdict in chunk.rejections.items()}
    return [
        chunks[0]._replace(
            starts=joined(lambda chunk: chunk.starts),
            ordinals=joined(lambda chunk: chunk.ordinals),
            rejections=rejections,
        )
    ]


def _hash_chunk(chunk: Chunk, source: Source) -> KeyHashes:
    hashes, names = _own_hashes(chunk.ordinals), source.group_by
    if len(chunk.rejections) == len(hashes):  # rows that are lost
        return KeyHashes(hashes, np.zeros(len(hashes), np.int64), frozenset(), ())
    columns: dict[str, None] = {}
    present = set[str]()
    for number, (ordinal, record) in enumerate(
        zip(chunk.ordinals.tolist(), _key_columns(chunk, source), strict=True)
    ):
        if record is None or ordinal in chunk.rejections:
            continue
        columns |= dict.fromkeys(record)
        values = [key_value(record.get(name)) for name in names]
        present.update(n for n, value in zip(names, values, strict=True) if value is not None)
        if all(value is not None for value in values):
            text = json.dumps(values, default=str, sort_keys=True)
            hashes[number] = xxhash.xxh3_64_intdigest(text.encode())
    sizes = np.where(np.isin(chunk.ordinals, list(chunk.rejections)), 0, _sizes(chunk, source))
    return KeyHashes(hashes, sizes + _RECORD_BYTES, frozenset(present), tuple(columns))


def _own_hashes(ordinals: Offsets) -> Hashes:
    texts = (str(ordinal).encode() for ordinal in ordinals.tolist())
    return np.array([xxhash.xxh3_64_intdigest(text, seed=1) for text in texts], np.uint64)


def _key_columns(chunk: Chunk, source: Source) -> Iterator[dict[str, Any] | None]:
    """Yield for each record at least its columns that `group_by` names, None if unreadable."""
    match chunk.kind:
        case "parquet":
            return _parquet_columns(chunk, source.group_by)
        case "arrow":
            return _arrow_columns(chunk, source.group_by)
        case "tar":
            return (record.value for [record] in read_records(chunk, source))
    return (_parse_object(element) for element in read_elements(chunk))


def _parse_object(element: bytes) -> dict[str, Any] | None:
    parsed = parse(element)
    return parsed[0] if isinstance(parsed, tuple) and isinstance(parsed[0], dict) else None


def _parquet_columns(chunk: Chunk, names: Sequence[str]) -> Iterator[dict[str, Any] | None]:
    parquet = open_upstream(chunk.files[0])
    others = dict.fromkeys(parquet.schema_arrow.names)
    columns = [name for name in names if name in others]
    rows = iter(chunk.starts.tolist())
    wanted = next(rows, None)
    begin = 0
    try:
        with limit_memory():
            for batch in parquet.iter_batches(
                _ROWS_AT_ONCE, row_groups=[chunk.row_group], columns=columns, use_threads=False
            ):
                while wanted is not None and wanted < begin + len(batch):
                    yield {**others, **batch.slice(wanted - begin, 1).to_pylist()[0]}
                    wanted = next(rows, None)
                begin += len(batch)
    except READ_ERRORS:
        pass  # the records stage says so of each row that cannot be read
    if wanted is not None:
        yield from repeat(None, 1 + sum(1 for _ in rows))


def _arrow_columns(chunk: Chunk, names: Sequence[str]) -> Iterator[dict[str, Any] | None]:
    found = open_batches(chunk.files[0])
    if chunk.row_group == len(found.batches):  # what follows damage
        yield from repeat(None, len(chunk.ordinals))
        return
    batch = found.batches[chunk.row_group]
    others = dict.fromkeys(batch.schema.names)
    for row in chunk.starts.tolist():
        try:
            values = {n: batch.column(n)[row].as_py() for n in names if n in others}
        except READ_ERRORS:
            yield None
            continue
        yield {**others, **values}


def _sizes(chunk: Chunk, source: Source) -> Offsets:
    """Return the bytes of each record's texts, without those of its images."""
    match chunk.kind:
        case "parquet":
            return _parquet_sizes(chunk, source)
        case "arrow":
            batches = open_batches(chunk.files[0]).batches
            if chunk.row_group < len(batches):
                return text_sizes(batches[chunk.row_group])[chunk.starts]
            return np.zeros(len(chunk.starts), np.int64)
        case "tar":
            records = (record.value for [record] in read_records(chunk, source))
            return np.array([len(orjson.dumps(one, default=str)) for one in records], np.int64)
    return chunk.ends - chunk.starts


def _parquet_sizes(chunk: Chunk, source: Source) -> Offsets:
    file = chunk.files[0]
    columns = describe_table(file, image_column_names(source)).columns
    found = [np.zeros(0, np.int64)]
    try:
        with limit_memory():
            for batch in read_batches(RowGroup(file, chunk.row_group, 0), columns):
                found.append(row_sizes(batch))
    except READ_ERRORS:
        pass
    sizes = np.append(np.concatenate(found), np.zeros(int(chunk.starts[-1]) + 1, np.int64))
    return sizes[chunk.starts]
