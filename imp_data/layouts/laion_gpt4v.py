"""LAION-GPT4V: Parquet rows with a caption and the address of a picture, but no picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from imp_data.errors import UserError
from imp_data.layouts.keys import COMMON, Keys, verdict_on
from imp_data.layouts.plain_questions import Question
from imp_data.layouts.questions import joined, question_problem
from imp_data.layouts.reading import (
    CHUNK_ROWS,
    Chunk,
    Layout,
    name_row,
    read_rows,
    record_files,
    validated,
)
from imp_data.ledger import Verdict
from imp_data.manifest import Source
from imp_data.sample import Draft, Refused, Row
from imp_data.store import published_parquet_file


class _Record(TypedDict):
    link: str
    caption: str
    message_id: Any


_ADAPTER: TypeAdapter[_Record] = TypeAdapter(_Record)
_COLUMNS = list(_Record.__annotations__)
# The image, where upstream has put it, is that of the collection.
_IMAGE = "image"
_KEYS = Keys(frozenset(_COLUMNS), COMMON | {_IMAGE})


def _chunks(folder: Path, source: Source) -> Iterator[Chunk]:
    """Ranges of rows; `starts` and `ends` are row numbers within the file."""
    ordinal = 0
    for file in record_files(folder, source):
        total = _opened(file).metadata.num_rows
        starts = np.arange(0, total, CHUNK_ROWS)
        for start in starts.tolist():
            end = min(start + CHUNK_ROWS, total)
            one = np.zeros(1, np.int64)
            yield Chunk((file,), one, one + start, one + end, one, one + ordinal + start)
        ordinal += total


def _opened(file: Path) -> pq.ParquetFile:
    try:
        parquet = published_parquet_file(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error
    missing = sorted(set(_COLUMNS) - set(parquet.schema_arrow.names))
    if missing:
        raise UserError(
            file, f"lacks the columns {', '.join(missing)}", "pin the revision the manifest names"
        )
    return parquet


def _damaged(file: Path, error: Exception) -> UserError:
    return UserError(
        file, f"is not a whole Parquet file ({error})", "put a whole one there, or fetch it anew"
    )


def _groups(chunk: Chunk) -> Iterator[list[Row]]:
    start, end = int(chunk.starts[0]), int(chunk.ends[0])
    try:
        parquet = _opened(chunk.files[0])
        names = [name for name in parquet.schema_arrow.names if name != _IMAGE]
        values = parquet.read(columns=names).slice(start, end - start).to_pylist()
        unopened = {_IMAGE: None} if _IMAGE in parquet.schema_arrow.names else {}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(chunk.files[0], error) from error
    for number, value in enumerate(values):
        yield [Row(int(chunk.ordinals[0]) + number, {**value, **unopened})]


def _assemble(rows: list[Row], source: Source) -> Iterator[Draft | Refused]:
    for row in read_rows(rows):
        yield row if isinstance(row, Refused) else _draft(row, source)


def _draft(row: Row, source: Source) -> Draft | Refused:
    identity = name_row(row, "message_id") or ""
    record = validated(_ADAPTER, row)
    if isinstance(record, Refused):
        return record
    over = verdict_on(row.value, _KEYS, source)
    if isinstance(over, Verdict):
        return Refused(row, over)
    row.passed_over = over
    # Upstream ships no pictures and names none; Mini-Gemini's are gpt_v<number>.jpg.
    image = f"{source.image_prefix}gpt_v{row.ordinal}.jpg"
    # Chosen by the record's own id, so that no other record's coming or going changes it.
    choice = xxhash.xxh3_64_intdigest(identity.encode()) % len(source.prompts)
    prompt = source.prompts[choice]
    problem = question_problem(Question(image, prompt, record["caption"]))
    if problem:
        return Refused(row, problem)
    return joined(
        [(row, prompt, record["caption"])],
        upstream_id=identity,
        subset="",
        image=image,
        suffix="",
    )


LAYOUT = Layout(_chunks, _groups, _assemble, _KEYS)
