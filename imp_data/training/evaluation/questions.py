"""Read and write question and answer files in LLaVA's format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.sample import IMAGE_TOKEN, OPTION_LETTER_SUFFIX
from imp_data.storage.atomic_write import write_text
from imp_data.training.evaluation.json_rows import LocatedRow, read_located_rows


class Question(NamedTuple):
    """One question; `expected` are the right answers, if the question file has them."""

    id: str | int
    image: str | None
    text: str
    category: str = "default"
    expected: tuple[str, ...] = ()


class Answer(NamedTuple):
    """A model's answer to a question."""

    id: str | int
    prompt: str
    text: str


def read_questions(path: Path) -> list[Question]:
    """Read a file of questions: one JSON object per line, or ScienceQA's array of conversations.

    Raise UserError with file, record and field if a row is invalid.
    """
    rows = read_located_rows(path)
    if not rows:
        raise UserError(path, "holds no questions", "name a file with one JSON object per line")
    return [_question(row) for row in rows]


def read_answers(path: Path) -> list[Answer]:
    """Read a file of answers, ours or LLaVA's. Raise UserError if a row is invalid."""
    rows = read_located_rows(path)
    if not rows:
        raise UserError(path, "holds no answers", "name a file with one JSON object per line")
    return [
        Answer(
            _id(row, "question_id"),
            _text(row, "prompt", _field(row, "prompt")),
            _text(row, "text", _field(row, "text")),
        )
        for row in rows
    ]


def write_answers(path: Path, answers: Sequence[Answer], model: str) -> None:
    """Write one JSON object per line, with the fields that LLaVA's evaluation scripts read."""
    lines = [
        json.dumps(
            {
                "question_id": answer.id,
                "prompt": answer.prompt,
                "text": answer.text,
                "answer_id": f"{model}-{number}",
                "model_id": model,
                "metadata": {},
            },
            ensure_ascii=False,
        )
        for number, answer in enumerate(answers)
    ]
    write_text(path, "\n".join(lines) + "\n")


def _question(row: LocatedRow) -> Question:
    if isinstance(row.value, dict) and "conversations" in row.value:
        # LLaVA's ScienceQA files; scripts/eval/sqa.sh runs them with --single-pred-prompt.
        text = _first_turn(row).replace(IMAGE_TOKEN, "").strip() + OPTION_LETTER_SUFFIX
        return Question(_id(row, "id"), _image(row), text)
    category = row.value.get("category") if isinstance(row.value, dict) else None
    return Question(
        _id(row, "question_id"),
        _image(row),
        _text(row, "text", _field(row, "text")),
        "default" if category is None else _text(row, "category", category),
        _expected(row, row.value.get("answer")),
    )


def _field(row: LocatedRow, name: str) -> Any:
    if not isinstance(row.value, dict) or name not in row.value:
        raise UserError(row.place, f"has no {name!r}", "check that it is the intended file")
    return row.value[name]


def _id(row: LocatedRow, name: str) -> str | int:
    """Return an integer unchanged, anything else as text."""
    given = _field(row, name)
    return given if type(given) is int else _text(row, name, given)


def _text(row: LocatedRow, name: str, value: Any) -> str:
    """Return text unchanged; numbers and booleans as an answer writes them: 3, 2.5, yes."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    raise _type_error(row, name, value, "text")


def _first_turn(row: LocatedRow) -> str:
    turns = row.value["conversations"]
    first = turns[0] if isinstance(turns, list) and turns else None
    if not isinstance(first, dict) or not isinstance(first.get("value"), str):
        raise _type_error(row, "conversations", turns, "a list of turns with a 'value' each")
    return str(first["value"])


def _image(row: LocatedRow) -> str | None:
    """Return the image's path; accept a list of one, and empty text as no image."""
    given = row.value.get("image")
    if isinstance(given, list) and len(given) <= 1:
        given = given[0] if given else None
    if given is not None and not isinstance(given, str):
        raise _type_error(row, "image", given, "the path of one image")
    return given or None


def _expected(row: LocatedRow, given: Any) -> tuple[str, ...]:
    """Return the right answers: one, or each of a list, VQA's form included.

    A boolean accepts yes or no, and true or false.
    """
    if given is None:
        return ()
    if isinstance(given, list):
        return tuple(dict.fromkeys(text for one in given for text in _expected(row, one)))
    if isinstance(given, dict) and "answer" in given:
        return _expected(row, given["answer"])
    if isinstance(given, bool):
        return (_text(row, "answer", given), str(given).lower())
    return (_text(row, "answer", given),)


def _type_error(row: LocatedRow, name: str, value: Any, wanted: str) -> UserError:
    text = json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= 60 else f"{text[:60]}…"
    return UserError(row.place, f"{name!r} is {text}", f"write {wanted}")
