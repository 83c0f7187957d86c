"""Read a benchmark's questions from JSON, JSON Lines or Parquet."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from imp_data.errors import UserError
from imp_data.ledger import Verdict
from imp_data.manifests.benchmark_questions import QuestionColumns
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind, kind_phrase
from imp_data.storage.range_reader import open_file
from imp_data.storage.tables import open_published_parquet

_BATCH_ROWS = 4096
_HEAD_BYTES = 1 << 20
_REMEDY = "correct the file, or the columns that the manifest names"
# Names of columns that are tried, in this order, if none is stated: those of LLaVA, lmms-eval and
# the benchmarks' own files.
_COLUMNS = {
    "id": ("question_id", "questionId", "id", "index", "pid", "qid"),
    "question": ("question", "text", "query", "prompt"),
    "answers": ("answers", "answer", "label", "gt_answer", "direct_answers"),
    "image": ("image_id", "imageId", "image_source", "image_path", "image_local_name", "image"),
}
_OPTIONS = (("options",), ("choices",), ("A", "B", "C", "D", "E"))


class BenchmarkQuestion(NamedTuple):
    """One question of a benchmark; `image` is the id of its image, "" if none is stated."""

    id: str
    image: str
    question: str
    options: tuple[str, ...]
    answers: tuple[str, ...]


class _Columns(NamedTuple):
    """The columns of one file; "" or none where it has no such column."""

    id: str
    question: str
    answers: str
    image: str
    options: tuple[str, ...]


def read_questions(path: Path, stated: QuestionColumns) -> Iterator[BenchmarkQuestion]:
    """Yield the questions of a file. Raise UserError with file, record and field for a bad one.

    No question is skipped: what is copied from one that is left out would pass.
    """
    with open_file(path) as file:
        kind = detect_kind(file.read(HEAD_BYTES))
    if kind == "parquet":
        rows = _parquet_rows(path, stated)
    elif kind in (None, "text", "json"):
        rows = _json_rows(path, stated)
    else:
        raise UserError(path, f"is {kind_phrase(kind)}", "name JSON, JSON Lines or Parquet")
    columns: _Columns | None = None
    count = 0
    for count, row in enumerate(rows, 1):
        place = f"{path}, record {count}"
        if columns is None or not {columns.question, columns.id} - {""} <= row.keys():
            columns = _find_columns(place, row, stated)
        yield _read_question(place, count, row, columns)
    if not count:
        raise UserError(path, "holds no questions", "name a file with one question a record")


def _json_rows(path: Path, stated: QuestionColumns) -> Iterator[dict[str, Any]]:
    """Yield the objects with a question, in whatever array or object they stand."""
    names = (stated.question,) if stated.question else _COLUMNS["question"]
    with open_file(path) as file:
        head = file.read(_HEAD_BYTES)
        field = next((name for name in names if f'"{name}"'.encode() in head), names[0])
        number = 0
        for spans in json_spans(path, fields=frozenset({field})):
            for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True):
                number += 1
                file.seek(start)
                element = file.read(end - start)
                parsed = parse(element)
                value = parsed.reason.sentence if isinstance(parsed, Verdict) else parsed[0]
                if not isinstance(value, dict):
                    problem = f"is no JSON object with a question: {element[:60]!r}"
                    raise UserError(f"{path}, record {number}", problem, _REMEDY)
                yield value


def _parquet_rows(path: Path, stated: QuestionColumns) -> Iterator[dict[str, Any]]:
    """Yield the rows without the bytes of images."""
    try:
        file = open_published_parquet(path)
        names = [_leaf(field) for field in file.schema_arrow]
        for batch in file.iter_batches(_BATCH_ROWS, columns=[n for n in names if n]):
            yield from map(_without_structs, batch.to_pylist())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(path, f"cannot be read ({error})", _REMEDY) from error


def _leaf(field: pa.Field) -> str:
    """Return what to read of a column: of an embedded image its path; "" for bytes."""
    kind = field.type
    if pa.types.is_struct(kind) and "bytes" in {one.name for one in kind}:
        return f"{field.name}.path" if "path" in {one.name for one in kind} else ""
    inner = kind.value_type if pa.types.is_list(kind) else kind
    if pa.types.is_struct(inner) and "bytes" in {one.name for one in inner}:
        return ""
    return "" if pa.types.is_binary(inner) or pa.types.is_large_binary(inner) else field.name


def _without_structs(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value["path"] if isinstance(value, dict) and value.keys() == {"path"} else value
        for name, value in row.items()
    }


def _find_columns(place: str, row: dict[str, Any], stated: QuestionColumns) -> _Columns:
    found = {}
    for role, names in _COLUMNS.items():
        wanted = getattr(stated, role)
        if wanted is not None and wanted not in row:
            raise _no_column(place, role, row, f"has no field {wanted!r}")
        found[role] = wanted or next((name for name in names if name in row), "")
    if not found["question"]:
        raise _no_column(place, "question", row, "has no field that is a question")
    options = stated.options
    if options and not set(options) & row.keys():
        raise _no_column(place, "options", row, f"has no field {options[0]!r}")
    guessed = next((some for some in _OPTIONS if some[0] in row), ())
    return _Columns(**found, options=tuple(options or guessed))


def _no_column(place: str, role: str, row: dict[str, Any], problem: str) -> UserError:
    remedy = f"state the column of the {role} in `columns`; the record has {', '.join(row)}"
    return UserError(place, problem, remedy)


def _read_question(
    place: str, number: int, row: dict[str, Any], columns: _Columns
) -> BenchmarkQuestion:
    question = row.get(columns.question)
    if not isinstance(question, str) or not question.strip():
        raise _wrong(place, columns.question, "is no text", question)
    stated = _options(place, row, columns.options)
    identity = row.get(columns.id)
    image = row.get(columns.image)
    return BenchmarkQuestion(
        id=str(number) if identity is None else str(identity),
        image=str(image) if isinstance(image, str | int) else "",
        question=question,
        options=stated,
        answers=tuple(
            dict.fromkeys(_answers(place, columns.answers, row.get(columns.answers), stated))
        ),
    )


def _options(place: str, row: dict[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    values: Iterable[Any] = [row.get(name) for name in names]
    if len(names) == 1:
        [value] = values
        if isinstance(value, dict):
            value = value["text"] if isinstance(value.get("text"), list) else [*value.values()]
        if value is None:
            return ()
        if not isinstance(value, list):
            raise _wrong(place, names[0], "is no list of options", value)
        values = value
    return tuple(
        str(one) for one in values if one is not None and str(one).strip() not in ("", "nan")
    )


def _answers(place: str, field: str, value: Any, options: Sequence[str]) -> Iterator[str]:
    """Yield the answers as text; a whole number is the place of an option, if there are any."""
    if isinstance(value, dict):
        value = value.get("answer", value.get("multiple_choice_answer"))
    if value is None:
        return
    if isinstance(value, list):
        for one in value:
            yield from _answers(place, field, one, options)
    elif isinstance(value, bool):
        yield "yes" if value else "no"
    elif isinstance(value, int) and options:
        if not 0 <= value < len(options):
            raise _wrong(place, field, f"names none of {len(options)} options", value)
        yield options[value]
    elif isinstance(value, str | int | float):
        yield str(value)
    else:
        raise _wrong(place, field, "is no answer", value)


def _wrong(place: str, field: str, problem: str, value: Any) -> UserError:
    return UserError(place, f"{field!r} {problem}: {str(value)[:60]!r}", _REMEDY)
