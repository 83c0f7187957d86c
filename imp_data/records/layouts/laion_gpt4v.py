"""LAION-GPT4V: Parquet rows with a caption and the address of an image, but no image."""

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
    name_row,
    read_rows,
    record_files,
    validated,
)
from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.parquet_lookup import rows_at
from imp_data.records.layouts.parquet_rows import (
    ERRORS,
    Group,
    Piece,
    damaged,
    pieces_of,
    row_groups,
    surveyed,
    uncounted,
)
from imp_data.records.layouts.question_sets import joined, question_problem
from imp_data.records.layouts.unread_fields import COMMON, Keys, verdict_on
from imp_data.sample import Draft, Refused, Row


class _Record(TypedDict):
    link: str
    caption: str
    message_id: Any


_ADAPTER: TypeAdapter[_Record] = TypeAdapter(_Record)
_COLUMNS = list(_Record.__annotations__)
# The image, where upstream has put it, is that of the collection.
_IMAGE = "image"
_KEYS = Keys(frozenset(_COLUMNS), COMMON | {_IMAGE})


def _chunks(folder: Path, source: Source, limits: Limits) -> Iterator[Chunk]:
    """Rows of one row group: `starts` has their numbers in it, `file_numbers` its own number.

    `groups` has the rows' numbers upstream. Rows that are lost together have one entry.
    """
    ordinal = upstream = 0
    unread: tuple[Path, Piece] | None = None
    read = False
    for file in record_files(folder, source):
        groups, stated = row_groups(file, tuple(_COLUMNS))
        pieces = list[Piece]()
        for found in surveyed(groups, _IMAGE, limits):
            pieces += pieces_of(found)
        counted = sum(group.stated for group in groups)
        if stated != counted and not any(piece.problem for piece in pieces):
            pieces.append(uncounted(file, stated, counted))
        for piece in pieces:
            chunk = _chunk(piece, ordinal, upstream, limits.max_record_bytes)
            yield chunk
            ordinal += len(chunk.ordinals)
            upstream += piece.rows
            read = read or piece.problem is None
            unread = unread or (file, piece)
    if unread is not None and not read:
        raise damaged(unread[0], unread[1].problem)


def _chunk(piece: Piece, ordinal: int, upstream: int, most: int) -> Chunk:
    places = np.arange(piece.rows if piece.problem is None else 1)
    starts = piece.begin + places
    if piece.problem is None:
        refused = {
            ordinal + row - piece.begin: Verdict(
                Reason.RECORD_TOO_LARGE, {"bytes": size, "most": most}
            )
            for row, size in piece.large.items()
        }
    else:
        refused = {ordinal: Verdict(Reason.ROWS_LOST, piece.evidence())}
    return Chunk(
        (piece.group.file,),
        np.full(len(places), piece.group.number),
        starts,
        starts + 1,
        upstream + places,
        ordinal + places,
        refused,
    )


def _groups(chunk: Chunk) -> Iterator[list[Row]]:
    """Each row by itself; rows that are refused are not read."""
    group = Group(chunk.files[0], int(chunk.file_numbers[0]), 0)
    refused = [chunk.refused.get(ordinal) for ordinal in chunk.ordinals.tolist()]
    try:
        values = rows_at(group, _IMAGE, chunk.starts[np.array([not one for one in refused])])
        for ordinal, number, verdict in zip(
            chunk.ordinals.tolist(), chunk.groups.tolist(), refused, strict=True
        ):
            value = verdict or next(values)
            no = value if isinstance(value, Verdict) else None
            yield [Row(ordinal, None if no else value, refused=no, number=number)]
    except ERRORS as error:
        raise damaged(chunk.files[0], error) from error


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
    # Upstream ships no images and names none; Mini-Gemini's are gpt_v<number>.jpg.
    image = f"{source.image_prefix}gpt_v{row.number}.jpg"
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
