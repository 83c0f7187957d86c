"""Question files: layouts of JSON, encodings, and answers that are not text."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.training.evaluation.json_rows import read_rows
from imp_data.training.evaluation.questions import Answer, Question, read_answers, read_questions
from imp_data.training.evaluation.scoring import score

ROWS = [
    {"question_id": 1, "image": "a.png", "text": "Wie viele Häuser?", "answer": "1"},
    {"question_id": "b", "text": "多少？", "category": "count", "answer": "2"},
    {"question_id": 3, "image": "c,d.png", "text": '"{[],}"\\', "answer": "x"},
]


def dumped(rows: list[Any], **how: Any) -> list[str]:
    return [json.dumps(row, ensure_ascii=False, **how) for row in rows]


FORMS: dict[str, Callable[[list[Any]], str]] = {
    "lines": lambda rows: "\n".join(dumped(rows)) + "\n",
    "lines of Windows": lambda rows: "\r\n".join(dumped(rows)),
    "lines with CR": lambda rows: "\r".join(dumped(rows)),
    "lines with commas": lambda rows: ",\n".join(dumped(rows)),
    "blank lines": lambda rows: "\n\n\n".join(dumped(rows)) + "\n\n",
    "pretty objects": lambda rows: "\n".join(dumped(rows, indent=2)),
    "in a row": lambda rows: "".join(dumped(rows)),
    "an array": lambda rows: json.dumps(rows),
    "a pretty array": lambda rows: json.dumps(rows, indent=4),
    "arrays in a row": lambda rows: "".join(dumped([rows[:1], rows[1:]])),
    "wrapped": lambda rows: json.dumps({"info": {"version": 1}, "questions": rows}),
    "NULs behind": lambda rows: "\n".join(dumped(rows)) + "\0\0\0",
}
ENCODINGS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"),
    "utf-32-le",
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_read_in_any_layout_and_encoding(
    tmp_path: Path, form: str, encoding: str
) -> None:
    path = tmp_path / "q.json"
    path.write_bytes(FORMS[form](ROWS).encode(encoding))
    assert read_questions(path) == [
        Question(1, "a.png", "Wie viele Häuser?", "default", ("1",)),
        Question("b", None, "多少？", "count", ("2",)),
        Question(3, "c,d.png", '"{[],}"\\', "default", ("x",)),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    values=st.lists(JSON, min_size=2, max_size=6),
    form=st.sampled_from(sorted(set(FORMS) - {"wrapped"})),
)
def test_each_layout_returns_the_written_rows(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], form: str
) -> None:
    rows = [{"question_id": number, "rest": value} for number, value in enumerate(values)]
    path = tmp_path_factory.getbasetemp() / "rows.json"
    path.write_text(FORMS[form](rows), encoding="utf-8", newline="")
    assert read_rows(path) == rows


def test_objects_by_id_get_their_id_as_a_field(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text(json.dumps({"7": {"text": "How many?"}, "8": {"text": "Why?"}}))
    assert [(q.id, q.text) for q in read_questions(path)] == [("7", "How many?"), ("8", "Why?")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(b"{}", mtime=0), r"q\.json: is .*gzip"),
        (b"<!doctype html><html></html>", r"q\.json: is .*HTML"),
        ('{"text": "Größe"}'.encode("latin-1"), r"q\.json: is not in UTF-8: byte 13"),
        (
            b'{"question_id": 1, "text": "a"}\n{"question_id": 2, "te',
            r"q\.json, line 2: is not JSON",
        ),
        (b'{"question_id": 1,\n "text": "a"}\n\n{"question_id": 2}', r"line 4: has no 'text'"),
        (b'[{"question_id": 1, "text": "a"}, 7]', r"record 1: has no 'question_id'"),
        (b"", r"q\.json: holds no questions|is not JSON"),
        (b'{"question_id": 1, "text": null}', r"'text' is null"),
        (b'{"question_id": 1, "text": "a", "answer": {"b": 1}}', r"'answer' is \{\"b\": 1\}"),
        (b'{"question_id": 1, "text": "a", "image": ["b", "c"]}', r"'image' is \[\"b\", \"c\"\]"),
        (b'{"id": 1, "conversations": []}', r"'conversations' is \[\]"),
    ],
)
def test_an_invalid_row_is_named_with_its_location(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "q.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=problem):
        read_questions(path)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("one", ("one",)),
        (1, ("1",)),
        (1.0, ("1",)),
        (2.5, ("2.5",)),
        (True, ("yes", "true")),
        (False, ("no", "false")),
        (["1", "one", 1], ("1", "one")),
        ([{"answer": "red", "answer_id": 1}, {"answer": "dark red"}], ("red", "dark red")),
        (None, ()),
        ([], ()),
    ],
)
def test_an_answer_may_be_text_a_number_a_boolean_or_a_list(
    tmp_path: Path, answer: Any, expected: tuple[str, ...]
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question_id": 1, "text": "a", "answer": answer}))
    assert read_questions(path)[0].expected == expected


def test_only_answers_of_the_list_are_right() -> None:
    questions = [Question(n, None, "How many?", "default", ("1", "one")) for n in range(4)]
    answers = [Answer(n, "How many?", text) for n, text in enumerate(["One.", "1", "2", "1 one"])]
    assert score("exact", questions, answers, None)["accuracy"] == 50


def test_ids_and_images_of_other_json_types_are_converted(tmp_path: Path) -> None:
    rows = [
        {"question_id": 1.5, "text": 7, "image": ["a.png"], "category": 3},
        {"question_id": True, "text": "b", "image": ""},
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_questions(tmp_path / "q.jsonl") == [
        Question("1.5", "a.png", "7", "3"),
        Question("yes", None, "b"),
    ]
    answers = [
        {"question_id": 1.5, "prompt": "7", "text": 2},
        {"question_id": True, "prompt": "b", "text": ""},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    assert read_answers(tmp_path / "a.jsonl") == [Answer("1.5", "7", "2"), Answer("yes", "b", "")]
