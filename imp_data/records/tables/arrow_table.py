"""Read records from Arrow files, such as `datasets` caches and saves, with images left in them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Limits
from imp_data.records.json_array.spans import Offsets
from imp_data.records.record_chunk import CHUNK_ROWS, Chunk, find_too_large
from imp_data.records.tables.image_columns import (
    ImageColumn,
    find_image_columns,
    is_base64_image,
    name_images,
)
from imp_data.records.tables.json_images import name_inner_images
from imp_data.sample import UpstreamRecord
from imp_data.storage.arrow_batches import open_batches

_PROBLEM_CHARACTERS = 200


def arrow_chunks(files: Sequence[Path], limits: Limits, ordinal: int = 0) -> Iterator[Chunk]:
    """Yield chunks within one record batch, whose number is `row_group`; `starts` are its rows.

    Batches that follow a damaged one are lost together, as one entry.
    """
    for file in files:
        found = open_batches(file)
        for number, batch in enumerate(found.batches):
            for begin in range(0, len(batch), CHUNK_ROWS):
                rows = np.arange(begin, min(begin + CHUNK_ROWS, len(batch)))
                sizes = text_sizes(batch.slice(begin, len(rows)))
                ordinals = ordinal + np.arange(len(rows))
                too_large = find_too_large(ordinals, sizes, limits.max_record_bytes)
                yield _chunk(file, number, rows, ordinals, too_large)
                ordinal += len(rows)
        if found.problem is not None:
            evidence = {
                "file": file.name,
                "first_row": found.first_rows[-1],
                "problem": found.problem[:_PROBLEM_CHARACTERS],
            }
            lost = {ordinal: Verdict(Reason.ROWS_LOST, evidence)}
            one = np.zeros(1, np.int64)
            yield _chunk(file, len(found.batches), one, one + ordinal, lost)
            ordinal += 1


def text_sizes(rows: pa.RecordBatch) -> Offsets:
    """Return the bytes of each row's texts."""
    sizes = np.zeros(len(rows), np.int64)
    for column in rows.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return sizes


def _chunk(
    file: Path, number: int, rows: Offsets, ordinals: Offsets, rejections: dict[int, Verdict]
) -> Chunk:
    none = np.zeros(len(rows), np.int64)
    return Chunk(
        (file,), none, rows, rows + 1, ordinals, ordinals, rejections, "arrow", row_group=number
    )


def read_arrow_chunk(chunk: Chunk, named: frozenset[str]) -> Iterator[UpstreamRecord]:
    """Yield the rows of a chunk as records, with the names of their images."""
    found = open_batches(chunk.files[0])
    if chunk.row_group == len(found.batches):  # what follows damage
        [(ordinal, verdict)] = chunk.rejections.items()
        yield UpstreamRecord(ordinal, None, rejection=verdict)
        return
    batch, first = found.batches[chunk.row_group], found.first_rows[chunk.row_group]
    images = _find_images(batch, named)
    begin = int(chunk.starts[0])
    rows = batch.slice(begin, int(chunk.ends[-1]) - begin)
    columns = [_without_bytes(rows.column(name), images.get(name)) for name in rows.schema.names]
    texts = pa.RecordBatch.from_arrays(columns, rows.schema.names)
    for start, ordinal in zip(chunk.starts.tolist(), chunk.ordinals.tolist(), strict=True):
        record = UpstreamRecord(ordinal, None, rejection=chunk.rejections.get(ordinal))
        value = record.rejection or _read_row(texts, start - begin)
        if isinstance(value, Verdict):
            record.rejection = value
        else:
            name_images(value, first + start, images, chunk.name)
            name_inner_images(value, first + start, chunk.name)
            record.value = value
        yield record


def _find_images(batch: pa.RecordBatch, named: frozenset[str]) -> dict[str, ImageColumn]:
    images = find_image_columns(batch.schema, named)
    for name in batch.schema.names:
        if name.lower() in {"image", "images", *named} and _is_base64(batch.column(name)):
            images[name] = ImageColumn(name, several=False, plain=True)
    return images


def _is_base64(column: pa.Array) -> bool:
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return bool(is_text and len(column) and is_base64_image(column[0].as_py() or ""))


def _without_bytes(column: pa.Array, image: ImageColumn | None) -> pa.Array:
    """Return a column of images without their bytes: which are null, and how many a list has."""
    if image is None:
        return column
    if image.several:
        # Of all values of the batch: those of a slice that has null lists would be copied.
        present = pc.if_else(column.values.is_null(), None, True)
        bounds = pa.array(column.offsets.to_numpy().astype(np.int32))
        return pa.ListArray.from_arrays(bounds, present, mask=column.is_null())
    return pc.if_else(column.is_null(), None, True)


def _read_row(rows: pa.RecordBatch, row: int) -> dict[str, Any] | Verdict:
    one = rows.slice(row, 1)
    try:
        one.validate(full=True)
        return dict(one.to_pylist()[0])
    except UnicodeDecodeError as error:
        return Verdict(Reason.NOT_UTF8, {"byte": error.start, "problem": error.reason})
    except pa.ArrowException as error:
        problem = " ".join(str(error).split())[:_PROBLEM_CHARACTERS]
        return Verdict(Reason.ROWS_LOST, {"rows": 1, "problem": problem})
