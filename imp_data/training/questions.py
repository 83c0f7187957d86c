"""Question and answer files of evaluations, in LLaVA's form."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from imp_data.errors import UserError
from imp_data.sample import IMAGE_TOKEN, OPTION_LETTER_SUFFIX
from imp_data.store import write_text


class Question(NamedTuple):
    """One question; `expected` where the file itself has the answer."""

    id: str | int
    image: str | None
    text: str
    category: str = "default"
    expected: str | None = None


class Answer(NamedTuple):
    """What a model said to a question."""

    id: str | int
    prompt: str
    text: str


def read_questions(path: Path) -> list[Question]:
    """A file of questions: one JSON object a line, or ScienceQA's array of conversations."""
    rows = read_rows(path)
    if not rows:
        raise UserError(path, "holds no questions", "name a file with one JSON object a line")
    return [_question(path, number, row) for number, row in enumerate(rows)]


def read_answers(path: Path) -> list[Answer]:
    """A file of answers, ours or LLaVA's."""
    return [
        Answer(*(_field(path, number, row, name) for name in ("question_id", "prompt", "text")))
        for number, row in enumerate(read_rows(path))
    ]


def write_answers(path: Path, answers: Sequence[Answer], model: str) -> None:
    """One JSON object a line, with the fields that LLaVA's evaluation scripts read."""
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


def read_rows(path: Path) -> list[Any]:
    """A JSON array, the array under `data`, or JSON Lines."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "name a file") from None
    try:
        whole = orjson.loads(content)
    except orjson.JSONDecodeError:
        lines = [(n, line) for n, line in enumerate(content.splitlines(), 1) if line.strip()]
        return [_line(path, number, line) for number, line in lines]
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):
        whole = whole["data"]
    return whole if isinstance(whole, list) else [whole]


def _line(path: Path, number: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}, line {number}", f"is not JSON ({error})", "mend it") from None


def _question(path: Path, number: int, row: Any) -> Question:
    if isinstance(row, dict) and "conversations" in row:
        # LLaVA's ScienceQA files; scripts/eval/sqa.sh asks them with --single-pred-prompt.
        asked = _field(path, number, row, "conversations")[0]["value"]
        text = asked.replace(IMAGE_TOKEN, "").strip() + OPTION_LETTER_SUFFIX
        return Question(_field(path, number, row, "id"), row.get("image"), text)
    return Question(
        _field(path, number, row, "question_id"),
        row.get("image"),
        _field(path, number, row, "text"),
        row.get("category", "default"),
        row.get("answer"),
    )


def _field(path: Path, number: int, row: Any, name: str) -> Any:
    if not isinstance(row, dict) or name not in row:
        raise UserError(f"{path}, record {number}", f"has no {name!r}", "look what file it is")
    return row[name]
