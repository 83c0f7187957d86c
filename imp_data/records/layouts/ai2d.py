"""AI2D: one JSON file a diagram, whose keys are the questions (allenai.org/data/diagrams).

A question with `abcLabel` is asked on the diagram whose texts are covered by letters, so a diagram
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
    Chunk,
    Layout,
    name_row,
    read_rows,
    record_files,
    validated,
)
from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.question_sets import joined, question_problem
from imp_data.records.layouts.unread_fields import Keys, verdict_on
from imp_data.sample import OPTION_LETTER_SUFFIX, Draft, Refused, Row
from imp_data.storage.object_store import is_file
from imp_data.storage.range_reader import contents

_CHUNK_FILES = 256
# Upstream's way to leave a place in the list of options empty (allenai/molmo, ai2d.py).
_NULL_OPTION = "{}"
_LONG_INTEGER = re.compile(rb"\d{19}")
# Of all questions of a file together, each with the fields of its file.
_MOST_FIELDS = 1_000_000


class _Record(TypedDict):
    question: str
    imageName: str
    abcLabel: bool
    answerTexts: list[str]
    correctAnswer: int
    questionId: NotRequired[Any]


_ADAPTER: TypeAdapter[_Record] = TypeAdapter(_Record)
_KEYS = Keys(frozenset(_Record.__annotations__))


def _chunks(folder: Path, source: Source, limits: Limits) -> Iterator[Chunk]:
    """Some files at a time; of a question `file_numbers` and `groups` say in which file it is.

    A file is one record to the limits: as many are read together as one may be large.
    """
    files = record_files(folder, source)
    held_out = folder / source.held_out if source.held_out else folder
    if source.held_out and not is_file(held_out):
        raise UserError(held_out, "is not there", f"materialize raw/{source.name} again")
    ordinal, most = 0, limits.max_record_bytes
    for some, sizes, counts in _together(files, most):
        numbers = np.repeat(np.arange(len(some)) + 1, counts)
        ordinals = ordinal + np.arange(len(numbers))
        refused = {
            number: Verdict(Reason.RECORD_TOO_LARGE, {"most": most})
            for number in ordinals[np.repeat(np.array(sizes) > most, counts)].tolist()
        }
        nothing = np.zeros_like(numbers)
        yield Chunk((held_out, *some), numbers, nothing, nothing, numbers, ordinals, refused)
        ordinal += len(numbers)


def _together(files: list[Path], most: int) -> Iterator[tuple[list[Path], list[int], list[int]]]:
    """The files in pieces, with the bytes of each, as far as they may be read, and its records."""
    some, sizes, counts = list[Path](), list[int](), list[int]()
    for file, data in zip(files, contents(files, most + 1), strict=True):
        if some and (len(some) == _CHUNK_FILES or sum(sizes) + len(data) > most):
            yield some, sizes, counts
            some, sizes, counts = [], [], []
        some.append(file)
        sizes.append(len(data))
        counts.append(max(len(_questions(data)[0]), 1) if len(data) <= most else 1)
    if some:
        yield some, sizes, counts


def _questions(data: bytes) -> tuple[list[dict[str, Any]], list[AppliedRepair]]:
    """The questions of a file, each with its text and image, and what was mended to read it.

    No questions if it cannot be read, or if they and the fields around them are beyond reason.
    """
    parsed = parse(data)
    whole, mends = (None, []) if isinstance(parsed, Verdict) else parsed
    if whole is not None and _LONG_INTEGER.search(data):
        whole = parse_exactly(data)
    questions = whole.get("questions") if isinstance(whole, dict) else None
    if not isinstance(whole, dict) or not isinstance(questions, dict):
        return [], mends
    # Each question has the fields of its file too: none of them may vanish.
    shared = {"imageName": None, **whole}
    del shared["questions"]
    if len(shared) * len(questions) > _MOST_FIELDS:
        return [], mends
    asked = [
        {**shared, "question": text, **(fields if isinstance(fields, dict) else {})}
        for text, fields in questions.items()
    ]
    return asked, mends


def _groups(chunk: Chunk) -> Iterator[list[Row]]:
    test = _held_out(chunk.files[0])
    _, firsts = np.unique(chunk.groups, return_index=True)
    ordinals = chunk.ordinals[firsts].tolist()
    numbers = chunk.file_numbers[firsts[[o not in chunk.refused for o in ordinals]]]
    read = contents([chunk.files[number] for number in numbers.tolist()])
    for ordinal in ordinals:
        if ordinal in chunk.refused:
            yield [Row(ordinal, value=None, refused=chunk.refused[ordinal])]
            continue
        data = next(read)
        questions, mends = _questions(data)
        rows = [
            Row(ordinal + n, value, file=_split(value, test)) for n, value in enumerate(questions)
        ]
        lettered = [row for row in rows if row.value.get("abcLabel") is True]
        plain = [row for row in rows if row.value.get("abcLabel") is not True]
        if rows:
            rows[0].mends += mends
            yield from (group for group in (plain, lettered) if group)
        else:
            yield [Row(ordinal, value=None, raw=data)]


def _split(value: dict[str, Any], test: frozenset[str]) -> str:
    image = value["imageName"]
    return "test" if isinstance(image, str) and image in test else "train"


def _assemble(rows: list[Row], source: Source) -> Iterator[Draft | Refused]:
    asked: list[tuple[Row, str, str]] = []
    for row in read_rows(rows):
        result = row if isinstance(row, Refused) else _asked(row, source)
        if isinstance(result, Refused):
            yield result
        else:
            asked.append(result)
    if asked:
        first = asked[0][0].value
        folder = "abc_images" if first["abcLabel"] else "images"
        yield joined(
            asked,
            upstream_id=f"{folder}/{first['imageName']}",
            subset=folder,
            image=f"{source.image_prefix}{folder}/{first['imageName']}",
            suffix=OPTION_LETTER_SUFFIX,
        )


def _asked(row: Row, source: Source) -> tuple[Row, str, str] | Refused:
    name_row(row, "questionId")
    record = validated(_ADAPTER, row)
    if isinstance(record, Refused):
        return record
    over = verdict_on(row.value, _KEYS, source)
    if isinstance(over, Verdict):
        return Refused(row, over)
    row.passed_over = over
    options = _options(record)
    if isinstance(options, Verdict):
        return Refused(row, options)
    lines, letter = options
    asked = Question(record["imageName"], record["question"], letter, split=row.file)
    problem = question_problem(asked)
    if problem:
        return Refused(row, problem)
    return row, f"{record['question'].strip()}\n{lines}", letter


def _options(record: _Record) -> tuple[str, str] | Verdict:
    """`A. …` lines and the right letter; null options are left out.

    A right answer that stands twice has no letter of its own.
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


def _held_out(path: Path) -> frozenset[str]:
    """Names of the images in the test split; none where the source holds nothing out."""
    if not is_file(path):
        return frozenset()
    # One number a line, no header.
    return frozenset(
        f"{line.strip()}.png" for line in path.read_text().splitlines() if line.strip()
    )


LAYOUT = Layout(_chunks, _groups, _assemble, _KEYS)
