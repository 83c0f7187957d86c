"""Read the rows of a question-answering dataset in columns, with one Draft per image."""

from collections.abc import Callable, Sequence
from operator import add
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from imp_data.ledger import Verdict
from imp_data.manifests import Source
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.base import read_elements
from imp_data.records.layouts.columnar import (
    LAYOUT_ERRORS,
    DraftColumns,
    empty_columns,
    is_valid,
    load_elements,
)
from imp_data.records.layouts.unread_fields import (
    LayoutFields,
    check_unread_fields,
    expand_to_rows,
    find_ignored_fields,
)
from imp_data.records.record_chunk import Chunk
from imp_data.sample import IMAGE_TOKEN, SHORT_ANSWER_SUFFIX, has_visible_text
from imp_data.storage.image_paths import add_prefix


class Question(NamedTuple):
    """One upstream row of a question-answering dataset, with our field names."""

    image: str
    question: str
    answer: str
    split: str = "train"


class QuestionReader(NamedTuple):
    """How to read a row: its adapters for one and for many, and the options of question_layout."""

    one: TypeAdapter[Any]
    many: TypeAdapter[Any]
    identity: str
    read: Callable[[Any], Question]
    texts: tuple[str, str] | None
    problem: Callable[[Question], Verdict | None]
    fields: LayoutFields


def prepend_image_token(question: str, suffix: str) -> str:
    """Return the first question on an image, with the image token and the suffix."""
    return f"{IMAGE_TOKEN}\n{question}{suffix}"


def subset_of_file(name: str) -> str:
    """Return the subset of a file: `human` for train_human.json."""
    return name.removesuffix(".json").rsplit("_", 1)[-1]


def read_question_columns(chunk: Chunk, source: Source, reader: QuestionReader) -> DraftColumns:
    """Return Drafts of the images whose rows are all valid."""
    records = load_elements(list(read_elements(chunk)))
    begins = np.diff(chunk.groups, prepend=chunk.groups[:1] - 1) != 0
    rows = np.arange(len(records))
    extracted = _extract_texts(records, reader, source)
    if extracted is None:
        sound = np.array([_is_valid_row(record, reader, source) for record in records], np.bool_)
        whole = np.logical_and.reduceat(sound, np.flatnonzero(begins))
        rows = np.flatnonzero(whole[np.cumsum(begins) - 1])
        records = [records[row] for row in rows.tolist()]
        extracted = _extract_texts(records, reader, source)
    if extracted is None or not records:
        return empty_columns(len(chunk.groups))
    return _build_columns(
        records, rows, np.flatnonzero(begins[rows]), extracted, chunk, source, reader
    )


def _is_valid_row(record: Any, reader: QuestionReader, source: Source) -> bool:
    if not is_valid(reader.one, record) or type(record.get(reader.identity)) not in (str, int):
        return False
    if isinstance(check_unread_fields(record, reader.fields, source), Verdict):
        return False
    return reader.problem(reader.read(record)) is None


class _QuestionTexts(NamedTuple):
    """Questions and answers of rows, and each row's ignored fields."""

    questions: list[str]
    answers: list[str]
    ignored_fields: Sequence[tuple[str, ...]] | None


def _extract_texts(
    records: list[Any], reader: QuestionReader, source: Source
) -> _QuestionTexts | None:
    """Extract questions and answers; None if a row is invalid."""
    try:
        reader.many.validate_python(records, strict=True)
        ignored = find_ignored_fields(records, reader.fields, source)
    except LAYOUT_ERRORS:
        return None
    if reader.texts is None:
        read = [reader.read(record) for record in records]
        splits = {question.split for question in read}
        questions, answers = [q.question for q in read], [q.answer for q in read]
    else:
        splits = set[str]()
        questions, answers = ([record[name] for record in records] for name in reader.texts)
    both = "\0".join(map(add, questions, answers))
    identities = {type(record.get(reader.identity)) for record in records}
    if not (splits <= {"train"} and identities <= {str, int}) or IMAGE_TOKEN in both:
        return None
    questions, answers = [text.strip() for text in questions], [text.strip() for text in answers]
    # In ASCII, only control characters remain invisible, and the rules doubt those Drafts later.
    check = all if both.isascii() else _all_visible
    return (
        _QuestionTexts(questions, answers, ignored) if check(questions) and check(answers) else None
    )


def _all_visible(texts: list[str]) -> bool:
    return all(map(has_visible_text, texts))


def _build_columns(
    records: list[Any],
    rows: Offsets,
    firsts: Offsets,
    extracted: _QuestionTexts,
    chunk: Chunk,
    source: Source,
    reader: QuestionReader,
) -> DraftColumns:
    """Combine rows into Drafts; Draft n begins with row `firsts[n]` of `records`."""
    questions, answers, ignored = extracted
    for first in firsts.tolist():
        questions[first] = prepend_image_token(questions[first], SHORT_ANSWER_SUFFIX)
    texts = [""] * (2 * len(records))
    texts[0::2], texts[1::2] = questions, answers
    images = [reader.read(records[first]).image for first in firsts.tolist()]
    counts = np.diff(firsts, append=len(records))
    draft_of, row_ids = np.full(len(chunk.groups), -1), list[str | None]([None]) * len(chunk.groups)
    draft_of[rows] = np.repeat(np.arange(len(firsts)), counts)
    for row, record in zip(rows.tolist(), records, strict=True):
        row_ids[row] = str(record[reader.identity])
    numbers = chunk.file_numbers[rows[firsts]].tolist()
    subsets = (
        [subset_of_file(chunk.files[number].name) for number in numbers]
        if source.subsets == "file"
        else [""] * len(images)
    )
    where = [(add_prefix(source.image_prefix, image),) for image in images]
    ignored = expand_to_rows(ignored, rows, len(chunk.groups))
    return DraftColumns(draft_of, row_ids, images, subsets, where, 2 * counts, texts, ignored)
