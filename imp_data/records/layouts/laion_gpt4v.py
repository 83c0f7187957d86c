"""LAION-GPT4V: Parquet rows with a caption and the URL of an image, but no image."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from imp_data.ledger import Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.layouts.base import (
    Layout,
    list_record_files,
    parse_rows,
    set_upstream_id,
    validate,
)
from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.question_sets import check_question, join_questions
from imp_data.records.layouts.unread_fields import COMMON_IGNORED, LayoutFields, check_unread_fields
from imp_data.records.record_chunk import Chunk
from imp_data.records.tables.parquet_rows import columns_without
from imp_data.records.tables.parquet_table import parquet_chunks, read_parquet_chunk
from imp_data.sample import Draft, RejectedRecord, UpstreamRecord


class _Record(TypedDict):
    link: str
    caption: str
    message_id: Any


_ADAPTER: TypeAdapter[_Record] = TypeAdapter(_Record)
_COLUMNS = list(_Record.__annotations__)
# An image column is not read: images come from the source's image collection.
_IMAGE = "image"
_FIELDS = LayoutFields(frozenset(_COLUMNS), COMMON_IGNORED | {_IMAGE})


def _chunks(folder: Path, source: Source, limits: Limits) -> Iterator[Chunk]:
    """Yield the rows of all files; `groups` holds the row numbers upstream."""
    files = list_record_files(folder, source)
    return parquet_chunks(
        [(file, columns_without(file, _IMAGE)) for file in files], limits, tuple(_COLUMNS)
    )


def _groups(chunk: Chunk, source: Source) -> Iterator[list[UpstreamRecord]]:
    """Yield each row by itself."""
    columns = columns_without(chunk.files[0], _IMAGE)
    return ([record] for record in read_parquet_chunk(chunk, columns))


def _assemble(rows: list[UpstreamRecord], source: Source) -> Iterator[Draft | RejectedRecord]:
    for row in parse_rows(rows):
        yield row if isinstance(row, RejectedRecord) else _draft(row, source)


def _draft(row: UpstreamRecord, source: Source) -> Draft | RejectedRecord:
    identity = set_upstream_id(row, "message_id") or ""
    record = validate(_ADAPTER, row)
    if isinstance(record, RejectedRecord):
        return record
    ignored = check_unread_fields(row.value, _FIELDS, source)
    if isinstance(ignored, Verdict):
        return RejectedRecord(row, ignored)
    row.ignored_fields = ignored
    # Upstream has no images and no file names; Mini-Gemini names them gpt_v<number>.jpg.
    image = f"{source.image_prefix}gpt_v{row.upstream_number}.jpg"
    # The record's own id selects the prompt, so other records' changes do not affect it.
    choice = xxhash.xxh3_64_intdigest(identity.encode()) % len(source.prompts)
    prompt = source.prompts[choice]
    problem = check_question(Question(image, prompt, record["caption"]))
    if problem:
        return RejectedRecord(row, problem)
    return join_questions(
        [(row, prompt, record["caption"])],
        upstream_id=identity,
        subset="",
        image=image,
        suffix="",
    )


LAYOUT = Layout(_chunks, _groups, _assemble, _FIELDS)
