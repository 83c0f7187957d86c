"""AI2D: one JSON file per diagram, whose keys are the questions (allenai.org/data/diagrams).

A question with `abcLabel` refers to the diagram whose texts are covered by letters, so a diagram
gives up to two Samples: one on `images/`, one on `abc_images/`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired

import numpy as np
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from imp_data.errors import UserError
from imp_data.ledger import AppliedRepair, Reason, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.json_array.parse import parse, parse_exactly
from imp_data.records.layouts.base import (
    Layout,
    list_record_files,
    parse_rows,
    set_upstream_id,
    validate,
)
from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.question_sets import check_question, join_questions
from imp_data.records.layouts.unread_fields import LayoutFields, check_unread_fields
from imp_data.records.record_chunk import Chunk
from imp_data.sample import OPTION_LETTER_SUFFIX, Draft, RejectedRecord, UpstreamRecord
from imp_data.storage.object_store import is_file
from imp_data.storage.range_reader import read_files

_CHUNK_FILES = 256
# Upstream's mark for an unused place in the list of options (allenai/molmo, ai2d.py).
_NULL_OPTION = "{}"
_LONG_INTEGER = re.compile(rb"\d{19}")
# Limit for all questions of a file, counting the fields of the file for each question.
_MAX_FIELDS = 1_000_000


class _Record(TypedDict):
    question: str
    imageName: str
    abcLabel: bool
    answerTexts: list[str]
    correctAnswer: int
    questionId: NotRequired[Any]


_ADAPTER: TypeAdapter[_Record] = TypeAdapter(_Record)
_FIELDS = LayoutFields(frozenset(_Record.__annotations__))


def _chunks(folder: Path, source: Source, limits: Limits) -> Iterator[Chunk]:
    """Yield chunks of files; `file_numbers` and `groups` hold the file number of each question.

    A file counts as one record: a chunk holds files up to the size limit of one record.
    """
    files = list_record_files(folder, source)
    held_out = folder / source.held_out if source.held_out else folder
    if source.held_out and not is_file(held_out):
        raise UserError(held_out, "does not exist", f"materialize raw/{source.name} again")
    ordinal, max_bytes = 0, limits.max_record_bytes
    for some, sizes, counts in _batch_files(files, max_bytes):
        numbers = np.repeat(np.arange(len(some)) + 1, counts)
        ordinals = ordinal + np.arange(len(numbers))
        rejections = {
            number: Verdict(Reason.RECORD_TOO_LARGE, {"most": max_bytes})
            for number in ordinals[np.repeat(np.array(sizes) > max_bytes, counts)].tolist()
        }
        zeros = np.zeros_like(numbers)
        yield Chunk((held_out, *some), numbers, zeros, zeros, numbers, ordinals, rejections)
        ordinal += len(numbers)


def _batch_files(
    files: list[Path], max_bytes: int
) -> Iterator[tuple[list[Path], list[int], list[int]]]:
    """Yield files in batches, with the size and question count of each file."""
    some, sizes, counts = list[Path](), list[int](), list[int]()
    for file, data in zip(files, read_files(files, max_bytes + 1), strict=True):
        if some and (len(some) == _CHUNK_FILES or sum(sizes) + len(data) > max_bytes):
            yield some, sizes, counts
            some, sizes, counts = [], [], []
        some.append(file)
        sizes.append(len(data))
        counts.append(max(len(_parse_questions(data)[0]), 1) if len(data) <= max_bytes else 1)
    if some:
        yield some, sizes, counts


def _parse_questions(data: bytes) -> tuple[list[dict[str, Any]], list[AppliedRepair]]:
    """Return a file's questions, each with its text and image, and the repairs of the JSON.

    Returns no questions if the file is unreadable, or has too many fields in all.
    """
    parsed = parse(data)
    whole, repairs = (None, []) if isinstance(parsed, Verdict) else parsed
    if whole is not None and _LONG_INTEGER.search(data):
        whole = parse_exactly(data)
    questions = whole.get("questions") if isinstance(whole, dict) else None
    if not isinstance(whole, dict) or not isinstance(questions, dict):
        return [], repairs
    # Each question carries the fields of its file too, so that none goes unnoticed.
    shared = {"imageName": None, **whole}
    del shared["questions"]
    if len(shared) * len(questions) > _MAX_FIELDS:
        return [], repairs
    rows = [
        {**shared, "question": text, **(fields if isinstance(fields, dict) else {})}
        for text, fields in questions.items()
    ]
    return rows, repairs


def _groups(chunk: Chunk, source: Source) -> Iterator[list[UpstreamRecord]]:
    test = _read_test_images(chunk.files[0])
    _, firsts = np.unique(chunk.groups, return_index=True)
    ordinals = chunk.ordinals[firsts].tolist()
    numbers = chunk.file_numbers[firsts[[o not in chunk.rejections for o in ordinals]]]
    read = read_files([chunk.files[number] for number in numbers.tolist()])
    for ordinal in ordinals:
        if ordinal in chunk.rejections:
            yield [UpstreamRecord(ordinal, value=None, rejection=chunk.rejections[ordinal])]
            continue
        data = next(read)
        questions, repairs = _parse_questions(data)
        rows = [
            UpstreamRecord(ordinal + n, value, file=_split(value, test))
            for n, value in enumerate(questions)
        ]
        lettered = [row for row in rows if row.value.get("abcLabel") is True]
        plain = [row for row in rows if row.value.get("abcLabel") is not True]
        if rows:
            rows[0].repairs += repairs
            yield from (group for group in (plain, lettered) if group)
        else:
            yield [UpstreamRecord(ordinal, value=None, raw=data)]


def _split(value: dict[str, Any], test: frozenset[str]) -> str:
    image = value["imageName"]
    return "test" if isinstance(image, str) and image in test else "train"


def _assemble(rows: list[UpstreamRecord], source: Source) -> Iterator[Draft | RejectedRecord]:
    accepted: list[tuple[UpstreamRecord, str, str]] = []
    for row in parse_rows(rows):
        result = row if isinstance(row, RejectedRecord) else _read_question(row, source)
        if isinstance(result, RejectedRecord):
            yield result
        else:
            accepted.append(result)
    if accepted:
        first = accepted[0][0].value
        folder = "abc_images" if first["abcLabel"] else "images"
        yield join_questions(
            accepted,
            upstream_id=f"{folder}/{first['imageName']}",
            subset=folder,
            image=f"{source.image_prefix}{folder}/{first['imageName']}",
            suffix=OPTION_LETTER_SUFFIX,
        )


def _read_question(
    row: UpstreamRecord, source: Source
) -> tuple[UpstreamRecord, str, str] | RejectedRecord:
    set_upstream_id(row, "questionId")
    record = validate(_ADAPTER, row)
    if isinstance(record, RejectedRecord):
        return record
    ignored = check_unread_fields(row.value, _FIELDS, source)
    if isinstance(ignored, Verdict):
        return RejectedRecord(row, ignored)
    row.ignored_fields = ignored
    options = _format_options(record)
    if isinstance(options, Verdict):
        return RejectedRecord(row, options)
    lines, letter = options
    question = Question(record["imageName"], record["question"], letter, split=row.file)
    problem = check_question(question)
    if problem:
        return RejectedRecord(row, problem)
    return row, f"{record['question'].strip()}\n{lines}", letter


def _format_options(record: _Record) -> tuple[str, str] | Verdict:
    """Return the `A. …` lines and the right letter; null options are left out.

    A right answer that is listed twice has no unique letter.
    """
    texts, right = record["answerTexts"], record["correctAnswer"]
    if not 0 <= right < len(texts):
        problem = "the correct option is not among them"
    elif texts[right].strip() == _NULL_OPTION or texts.count(texts[right]) > 1:
        problem = "the correct option is empty or stands twice"
    else:
        left = [n for n, text in enumerate(texts) if text.strip() != _NULL_OPTION]
        lines = [f"{chr(65 + place)}. {texts[n].strip()}" for place, n in enumerate(left)]
        return "\n".join(lines), chr(65 + left.index(right))
    return Verdict(Reason.BAD_OPTIONS, {"problem": problem, "options": texts, "correct": right})


def _read_test_images(path: Path) -> frozenset[str]:
    """Return the image names of the test split; none if the source holds nothing out."""
    if not is_file(path):
        return frozenset()
    # The file has one number per line, no header.
    return frozenset(
        f"{line.strip()}.png" for line in path.read_text().splitlines() if line.strip()
    )


LAYOUT = Layout(_chunks, _groups, _assemble, _FIELDS)
