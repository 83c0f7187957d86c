"""Rows of a question-answering set read side by side: all questions on an image as one Draft."""

from collections.abc import Callable, Sequence
from operator import add
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from imp_data.ledger import Verdict
from imp_data.manifests import Source
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.base import Chunk, elements
from imp_data.records.layouts.columnar import MISREAD, Plain, fits, loaded, nothing_plain
from imp_data.records.layouts.unread_fields import Keys, over_rows, passed_over, verdict_on
from imp_data.sample import IMAGE_TOKEN, SHORT_ANSWER_SUFFIX, says_something


class Question(NamedTuple):
    """One upstream row of a question-answering dataset, in our words."""

    image: str
    question: str
    answer: str
    split: str = "train"


class Fields(NamedTuple):
    """How a row is read: its form, alone and many at once, and what question_layout was given."""

    one: TypeAdapter[Any]
    many: TypeAdapter[Any]
    identity: str
    read: Callable[[Any], Question]
    texts: tuple[str, str] | None
    problem: Callable[[Question], Verdict | None]
    keys: Keys


def opened_with_image(question: str, suffix: str) -> str:
    """The first question on an image."""
    return f"{IMAGE_TOKEN}\n{question}{suffix}"


def file_subset(name: str) -> str:
    """`human` for a row of train_human.json."""
    return name.removesuffix(".json").rsplit("_", 1)[-1]


def plain_questions(chunk: Chunk, source: Source, fields: Fields) -> Plain:
    """Drafts of the images all of whose rows are sound."""
    records = loaded(list(elements(chunk)))
    begins = np.diff(chunk.groups, prepend=chunk.groups[:1] - 1) != 0
    rows = np.arange(len(records))
    said = _said(records, fields, source)
    if said is None:
        sound = np.array([_is_sound(record, fields, source) for record in records], np.bool_)
        whole = np.logical_and.reduceat(sound, np.flatnonzero(begins))
        rows = np.flatnonzero(whole[np.cumsum(begins) - 1])
        records = [records[row] for row in rows.tolist()]
        said = _said(records, fields, source)
    if said is None or not records:
        return nothing_plain(len(chunk.groups))
    return _joined(records, rows, np.flatnonzero(begins[rows]), said, chunk, source, fields)


def _is_sound(record: Any, fields: Fields, source: Source) -> bool:
    if not fits(fields.one, record) or type(record.get(fields.identity)) not in (str, int):
        return False
    if isinstance(verdict_on(record, fields.keys, source), Verdict):
        return False
    return fields.problem(fields.read(record)) is None


class _Said(NamedTuple):
    """Questions and answers of rows, and the fields of each that were not read."""

    questions: list[str]
    answers: list[str]
    passed_over: Sequence[tuple[str, ...]] | None


def _said(records: list[Any], fields: Fields, source: Source) -> _Said | None:
    """What the rows say; None if one of them is not sound."""
    try:
        fields.many.validate_python(records, strict=True)
        over = passed_over(records, fields.keys, source)
    except MISREAD:
        return None
    if fields.texts is None:
        read = [fields.read(record) for record in records]
        splits = {question.split for question in read}
        questions, answers = [q.question for q in read], [q.answer for q in read]
    else:
        splits = set[str]()
        questions, answers = ([record[name] for record in records] for name in fields.texts)
    both = "\0".join(map(add, questions, answers))
    identities = {type(record.get(fields.identity)) for record in records}
    if not (splits <= {"train"} and identities <= {str, int}) or IMAGE_TOKEN in both:
        return None
    questions, answers = [text.strip() for text in questions], [text.strip() for text in answers]
    # In ASCII only control characters are left to be seen, and they put a Draft in doubt later.
    sounds = all if both.isascii() else _all_say_something
    return _Said(questions, answers, over) if sounds(questions) and sounds(answers) else None


def _all_say_something(texts: list[str]) -> bool:
    return all(map(says_something, texts))


def _joined(
    records: list[Any],
    rows: Offsets,
    firsts: Offsets,
    said: _Said,
    chunk: Chunk,
    source: Source,
    fields: Fields,
) -> Plain:
    """These rows of the chunk as Drafts, of which the n-th begins with row `firsts[n]` of them."""
    questions, answers, over = said
    for first in firsts.tolist():
        questions[first] = opened_with_image(questions[first], SHORT_ANSWER_SUFFIX)
    texts = [""] * (2 * len(records))
    texts[0::2], texts[1::2] = questions, answers
    images = [fields.read(records[first]).image for first in firsts.tolist()]
    counts = np.diff(firsts, append=len(records))
    draft_of, row_ids = np.full(len(chunk.groups), -1), list[str | None]([None]) * len(chunk.groups)
    draft_of[rows] = np.repeat(np.arange(len(firsts)), counts)
    for row, record in zip(rows.tolist(), records, strict=True):
        row_ids[row] = str(record[fields.identity])
    numbers = chunk.file_numbers[rows[firsts]].tolist()
    subsets = (
        [file_subset(chunk.files[number].name) for number in numbers]
        if source.subsets == "file"
        else [""] * len(images)
    )
    where = [source.image_prefix + image for image in images]
    over = over_rows(over, rows, len(chunk.groups))
    return Plain(draft_of, row_ids, images, subsets, where, 2 * counts, texts, over)
