"""Questions of benchmarks are read from JSON, JSON Lines and Parquet, and none is skipped."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imp_data.errors import UserError
from imp_data.manifests.benchmark_questions import QuestionColumns
from imp_data.screening.decontamination.questions.question_files import (
    BenchmarkQuestion,
    read_questions,
)

ROWS: list[dict[str, Any]] = [
    {"question_id": 7, "image_id": "a1", "question": "What is it?", "answers": ["a dog", "dog"]},
    {"question_id": 8, "image_id": "a1", "question": "Is it red?", "answers": ["no", "no"]},
]
QUESTIONS = [
    BenchmarkQuestion("7", "a1", "What is it?", (), ("a dog", "dog")),
    BenchmarkQuestion("8", "a1", "Is it red?", (), ("no",)),
]


def read(path: Path, **columns: Any) -> list[BenchmarkQuestion]:
    return list(read_questions(path, QuestionColumns(**columns)))


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        "\n".join(map(json.dumps, ROWS)),
        json.dumps({"dataset_name": "textvqa", "data": ROWS}),
        json.dumps({"info": {}, "questions": ROWS}, indent=1),
    ],
    ids=["array", "lines", "data", "questions"],
)
def test_json_is_read_in_any_form(content: str, tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text(content)
    assert read(path) == QUESTIONS


def test_parquet_of_the_hub_is_read_without_the_bytes_of_images(tmp_path: Path) -> None:
    image = {"bytes": b"\x89PNG", "path": "a1.png"}
    rows = [{**row, "image": image} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    assert read(tmp_path / "q.parquet") == QUESTIONS
    found = read(tmp_path / "q.parquet", image="image")
    assert [question.image for question in found] == ["a1.png", "a1.png"]


@pytest.mark.parametrize(
    ("row", "options", "answers"),
    [
        ({"options": ["cat", "dog"], "answer": "B"}, ("cat", "dog"), ("B",)),
        ({"choices": ["cat", "dog"], "answer": 1}, ("cat", "dog"), ("dog",)),
        ({"A": "cat", "B": "dog", "C": None, "answer": "A"}, ("cat", "dog"), ("A",)),
        ({"options": {"text": ["cat", "dog"], "label": ["A", "B"]}}, ("cat", "dog"), ()),
        ({"answers": [{"answer": "cat", "answer_id": 1}]}, (), ("cat",)),
        ({"answer": True}, (), ("yes",)),
        ({"answer": 3}, (), ("3",)),
        ({"answer": None}, (), ()),
    ],
)
def test_options_and_answers_are_read_as_benchmarks_publish_them(
    row: dict[str, Any], options: tuple[str, ...], answers: tuple[str, ...], tmp_path: Path
) -> None:
    [found] = read(lines(tmp_path / "q.jsonl", {"question": "Which?", **row}))
    assert (found.id, found.options, found.answers) == ("1", options, answers)


def test_stated_columns_are_read(tmp_path: Path) -> None:
    row = {"n": "x", "q": "Which?", "opt_a": "cat", "opt_b": "dog", "gt": "cat", "img": 3}
    columns = {"id": "n", "question": "q", "options": ["opt_a", "opt_b"], "answers": "gt"}
    [found] = read(lines(tmp_path / "q.jsonl", row), **columns, image="img")
    assert found == BenchmarkQuestion("x", "3", "Which?", ("cat", "dog"), ("cat",))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"question": "  "}, "'question' is no text: '  '"),
        ({"question": None}, "'question' is no text: 'None'"),
        ({"question": "Which?", "choices": "cat"}, "'choices' is no list of options: 'cat'"),
        ({"question": "Which?", "choices": ["a"], "answer": 4}, "names none of 1 options: '4'"),
        ([1], "is no JSON object with a question"),
    ],
)
def test_a_bad_record_is_an_error_that_names_it(row: Any, problem: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "q.jsonl", ROWS[0], row)
    with pytest.raises(UserError) as raised:
        read(path)
    assert raised.value.where == f"{path}, record 2"
    assert problem in raised.value.problem


def test_a_file_without_questions_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no record is found: none with question"):
        read(lines(tmp_path / "q.jsonl", {"image": "a.png"}))
    pq.write_table(pa.Table.from_pylist([{"image": "a.png"}]), tmp_path / "q.parquet")
    with pytest.raises(UserError, match="has no field that is a question"):
        read(tmp_path / "q.parquet")
    with pytest.raises(UserError, match="has no field 'frage'"):
        read(tmp_path / "q.parquet", question="frage")
    (tmp_path / "q.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(UserError, match="name JSON, JSON Lines or Parquet"):
        read(tmp_path / "q.png")
