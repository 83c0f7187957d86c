"""LAION-GPT4V: Parquet rows with a caption and the URL of an image, but no image."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.layouts.base import (
    Chunk,
    Layout,
    list_record_files,
    parse_rows,
    set_upstream_id,
    validate,
)
from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.parquet_lookup import read_rows_at
from imp_data.records.layouts.parquet_rows import (
    READ_ERRORS,
    RowGroup,
    RowRange,
    damaged_file_error,
    lost_rows,
    read_row_groups,
    split_into_ranges,
    survey_row_groups,
)
from imp_data.records.layouts.question_sets import check_question, join_questions
from imp_data.records.layouts.unread_fields import COMMON_IGNORED, LayoutFields, check_unread_fields
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
    """Yield chunks within one row group: `file_numbers` is its number, `starts` are row numbers.

    `groups` holds the row numbers upstream. Rows that are lost together share one entry.
    """
    ordinal = upstream = 0
    unread: tuple[Path, RowRange] | None = None
    read = False
    for file in list_record_files(folder, source):
        groups, footer_rows = read_row_groups(file, tuple(_COLUMNS))
        ranges = list[RowRange]()
        for found in survey_row_groups(groups, _IMAGE, limits):
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
        np.full(len(positions), row_range.group.number),
        starts,
        starts + 1,
        upstream + positions,
        ordinal + positions,
        rejections,
    )


def _groups(chunk: Chunk) -> Iterator[list[UpstreamRecord]]:
    """Yield each row by itself; rejected rows are not read."""
    group = RowGroup(chunk.files[0], int(chunk.file_numbers[0]), 0)
    rejections = [chunk.rejections.get(ordinal) for ordinal in chunk.ordinals.tolist()]
    try:
        values = read_rows_at(
            group, _IMAGE, chunk.starts[np.array([not one for one in rejections])]
        )
        for ordinal, number, verdict in zip(
            chunk.ordinals.tolist(), chunk.groups.tolist(), rejections, strict=True
        ):
            value = verdict or next(values)
            no = value if isinstance(value, Verdict) else None
            yield [
                UpstreamRecord(ordinal, None if no else value, rejection=no, upstream_number=number)
            ]
    except READ_ERRORS as error:
        raise damaged_file_error(chunk.files[0], error) from error


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
