"""Build, write and read a question pack: digests of a benchmark's questions, and no text.

One row for each question, in the benchmark's order. 13-grams that occur in more than three
different questions are a template's and are left out.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from imp_data.errors import UserError
from imp_data.screening.decontamination.questions.information import information_bits
from imp_data.screening.decontamination.questions.normalization import (
    VERSION,
    Question,
    plain_texts,
    read_answer,
    read_question,
)
from imp_data.screening.decontamination.questions.options import labelled_option
from imp_data.screening.decontamination.questions.question_files import BenchmarkQuestion
from imp_data.screening.decontamination.questions.word_hashes import (
    Hashes,
    hash_texts,
    hash_words,
    set_hashes,
)
from imp_data.storage.tables import open_parquet, parquet_writer

NGRAM_WORDS = 13
# An n-gram in more different questions than this belongs to a template.
_MAX_QUESTIONS = 3
_FORMAT = "1"
_ROW_GROUP = 1 << 14

_DIGESTS = pa.list_(pa.uint64())
# `image` is the xxh3 of the image's id; `options` the hash of their set, 0 without options;
# `question_bits`, `options_bits` and `answer_bits` their information. `answers` and `answer_bits`
# have one entry for each distinct answer.
QUESTION_PACK_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("image", pa.uint64()),
        pa.field("question", pa.uint64()),
        pa.field("question_bits", pa.int32()),
        pa.field("options", pa.uint64()),
        pa.field("options_bits", pa.int32()),
        pa.field("answers", _DIGESTS),
        pa.field("answer_bits", pa.list_(pa.int32())),
        pa.field("ngrams", _DIGESTS),
        pa.field("answer_ngrams", _DIGESTS),
    ]
)


class QuestionPack(NamedTuple):
    """The questions of one benchmark as a table of QUESTION_PACK_SCHEMA."""

    name: str
    table: pa.Table


def image_digest(image: str) -> int:
    """Return the digest of an image's id."""
    return xxhash.xxh3_64_intdigest(image.encode())


def build_question_pack(name: str, questions: Iterable[BenchmarkQuestion]) -> QuestionPack:
    """Build the pack of a benchmark. Memory: the texts of its questions."""
    given = list(questions)
    parsed = _parse(given)
    answers = _parse_answers(given, parsed)
    flat = [answer for some in answers for answer in some]
    bounds = np.cumsum([0, *map(len, answers)])
    counts = [len(question.options) for question in parsed]
    options = hash_texts(_array([one for q in parsed for one in q.options]))
    columns: list[Any] = [
        pa.array([question.id for question in given], pa.string()),
        pa.array([image_digest(q.image) if q.image else None for q in given], pa.uint64()),
        hash_texts(_array([question.stem for question in parsed])),
        [information_bits(question.stem) for question in parsed],
        set_hashes(options, np.cumsum([0, *counts])),
        [sum(map(information_bits, question.options)) for question in parsed],
        _lists(hash_texts(_array(flat)), bounds, pa.uint64()),
        _lists(np.array([*map(information_bits, flat)], np.int32), bounds, pa.int32()),
        _ngram_lists([[question.text] for question in parsed]),
        _ngram_lists(answers),
    ]
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, QUESTION_PACK_SCHEMA, strict=True)
    ]
    return QuestionPack(name, pa.Table.from_arrays(arrays, schema=QUESTION_PACK_SCHEMA))


def write_question_pack(path: Path, pack: QuestionPack, source: str) -> None:
    """Write a pack; equal questions give equal bytes. `source` is the digest of their files."""
    metadata = {
        "benchmark": pack.name,
        "question_pack": _FORMAT,
        "normalization": VERSION,
        "ngram_words": str(NGRAM_WORDS),
        "source": source,
    }
    schema = QUESTION_PACK_SCHEMA.with_metadata(metadata)
    with parquet_writer(path, schema) as writer:
        writer.write_table(pack.table.cast(schema), _ROW_GROUP)


def read_question_pack(path: Path) -> QuestionPack:
    """Read a pack. Raise UserError if it is none, or of another normalisation."""
    file = open_parquet(path)
    stated = {k.decode(): v.decode() for k, v in (file.schema_arrow.metadata or {}).items()}
    if stated.get("question_pack") != _FORMAT:
        remedy = "write one with `imp-data question-pack`"
        raise UserError(path, "is no question pack of this release", remedy)
    if (stated["normalization"], stated["ngram_words"]) != (VERSION, str(NGRAM_WORDS)):
        problem = f"has digests of normalisation {stated['normalization']}, not {VERSION}"
        raise UserError(path, problem, "write it again with this release")
    return QuestionPack(stated["benchmark"], file.read())


def _parse(given: Sequence[BenchmarkQuestion]) -> list[Question]:
    """Read the questions; options in a column of their own count, or else those in the text."""
    parsed = [read_question(text) for text in _plain([question.question for question in given])]
    stated = [
        (number, option) for number, question in enumerate(given) for option in question.options
    ]
    columns: dict[int, list[str]] = {}
    for (number, _), plain in zip(stated, _plain([text for _, text in stated]), strict=True):
        columns.setdefault(number, []).append(plain.lower())
    for number, options in columns.items():
        parsed[number] = parsed[number]._replace(options=tuple(options))
    return parsed


def _parse_answers(
    given: Sequence[BenchmarkQuestion], parsed: Sequence[Question]
) -> list[list[str]]:
    """Return the distinct answers of each question, a letter as the option that it stands for."""
    counts = [len(question.answers) for question in given]
    plain = iter(_plain([answer for question in given for answer in question.answers]))
    answers = []
    for question, count in zip(parsed, counts, strict=True):
        read = [read_answer(next(plain)) for _ in range(count)]
        named = [labelled_option(one, question.options) or one for one in read]
        answers.append(list(dict.fromkeys(named)))
    return answers


def _plain(texts: list[str]) -> list[str]:
    plain: list[str] = plain_texts(_array(texts)).to_pylist()
    return plain


def _array(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def _ngram_lists(texts: Sequence[Sequence[str]]) -> pa.ListArray:
    """Return the distinct n-grams of each question's texts, without those of templates."""
    flat = [text for some in texts for text in some]
    owner = np.repeat(np.arange(len(texts)), [len(some) for some in texts])
    hashed = hash_words(_array(flat))
    ngrams, places = hashed.ngrams(NGRAM_WORDS)
    different = np.unique(np.stack([ngrams, hashed.texts()[places]]), axis=1)[0]
    found, counts = np.unique(different, return_counts=True)
    pairs = np.unique(np.stack([owner[places].astype(np.uint64), ngrams]), axis=1)
    templates = found[counts > _MAX_QUESTIONS]
    pairs = pairs[:, ~np.isin(pairs[1], templates)]
    bounds = np.searchsorted(pairs[0], np.arange(len(texts) + 1).astype(np.uint64))
    return _lists(pairs[1], bounds, pa.uint64())


def _lists(values: Hashes | np.ndarray[Any, Any], bounds: Any, kind: pa.DataType) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), pa.array(values, kind))


def pack_figures(pack: QuestionPack) -> dict[str, int]:
    """Return how many questions a pack has, how many different ones, and of how many images."""
    table = pack.table
    images = Counter(table["image"].drop_null().to_pylist())
    return {
        "questions": table.num_rows,
        "different": len(set(table["question"].to_pylist())),
        "images": len(images),
        "with_ngrams": sum(map(bool, table["ngrams"].to_pylist())),
    }
