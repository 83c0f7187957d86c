"""The chat's question style of a mixture: frequent questions and the suffix for short answers."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from imp_data.errors import UserError
from imp_data.mobile.chat.question_style import read_question_style
from imp_data.mobile.gguf.export_manifest import ExampleQuestion, QuestionStyle

SHORT = "\nAnswer in a word."
TURN = pa.struct([("from", pa.string()), ("value", pa.string())])
COLUMNS = {"source": pa.string(), "subset": pa.string(), "image": pa.string()}
SCHEMA = pa.schema([*COLUMNS.items(), ("conversations", pa.list_(TURN))])


def row(source: str, *questions: str, image: str | None = "a.png") -> dict[str, Any]:
    turns = [{"from": "human", "value": question} for question in questions]
    for place in range(len(questions), 0, -1):
        turns.insert(place, {"from": "gpt", "value": "What color is the sign?"})
    return {"source": source, "subset": None, "image": image, "conversations": turns}


def mixture(folder: Path, *rows: dict[str, Any], schema: pa.Schema = SCHEMA) -> Path:
    """Write a folder in the format of a mixture, in two batches."""
    folder.mkdir()
    with pa.ipc.new_stream(folder / "data.arrow", schema) as out:
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            out.write(pa.RecordBatch.from_pylist(list(half), schema))
    state = {"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "f"}
    (folder / "mixture.json").write_bytes(b"{}")
    (folder / "state.json").write_bytes(orjson.dumps(state))
    return folder


def test_questions_about_several_images_are_no_examples(tmp_path: Path) -> None:
    lists = SCHEMA.set(2, pa.field("images", pa.list_(pa.string())))
    pairs = mixture(
        tmp_path / "pages",
        *[row("pages", f"<image>\n<image>\nWhich is older?{SHORT}") | {"images": ["a", "b"]}] * 3,
        *[row("pages", f"<image>\nWhat is the date?{SHORT}") | {"images": ["a"]}] * 2,
        row("talk", "How are you?") | {"images": []},
        schema=lists,
    )
    found = read_question_style([pairs], SHORT)
    assert found.examples == [ExampleQuestion(text="What is the date?", short=True)]
    assert found.short_by_default


def test_the_examples_are_the_most_frequent_questions_at_most_two_per_source(
    tmp_path: Path,
) -> None:
    cards = mixture(
        tmp_path / "cards",
        *[row("cards", f"<image>\nWhat color is the sign?{SHORT}", "How many?")] * 3,
        *[row("cards", f"How many?\n<image>{SHORT}")] * 2,
        *[row("cards", f"<image>\nWhich word?{SHORT}")] * 2,
    )
    scenes = mixture(
        tmp_path / "scenes",
        row("scenes", "<image>\nWhat is going on?"),
        row("scenes", "<image>\n" + "What is to be seen on this, " * 3),
        row("scenes", "<image>\nWhich?\nA. a\nB. b"),
        *[row("talk", "How are you?", image=None)] * 9,
    )
    assert read_question_style([cards, scenes], SHORT) == QuestionStyle(
        short_answer_suffix=SHORT,
        short_by_default=True,
        examples=[
            ExampleQuestion(text="How many?", short=True),
            ExampleQuestion(text="What color is the sign?", short=True),
            ExampleQuestion(text="What is going on?", short=False),
        ],
    )


@pytest.mark.parametrize(("short", "long", "default"), [(1, 2, False), (2, 2, False), (2, 1, True)])
def test_short_answers_are_the_default_if_most_conversations_have_the_suffix(
    tmp_path: Path, short: int, long: int, default: bool
) -> None:
    rows = [row("a", f"<image>\nWhy?{SHORT}")] * short + [row("a", "<image>\nWhy?", "And?")] * long
    assert read_question_style([mixture(tmp_path / "m", *rows)], SHORT).short_by_default is default


def test_a_suffix_that_no_question_has_is_an_error(tmp_path: Path) -> None:
    rows = [row("a", "<image>\nWhy?"), row("a", f"Why?{SHORT}", image=None)]
    folder = mixture(tmp_path / "m", *rows)
    with pytest.raises(UserError, match=r"no question about an image in .* ends with it"):
        read_question_style([folder], SHORT)


def test_without_a_mixture_the_suffix_is_not_checked(tmp_path: Path) -> None:
    assert read_question_style([], SHORT) == QuestionStyle(short_answer_suffix=SHORT)
    assert read_question_style([], None) == QuestionStyle()


def test_a_mixture_without_images_has_no_examples(tmp_path: Path) -> None:
    folder = mixture(tmp_path / "m", row("a", "Why?", image=None), row("b", "Why?", image=None))
    assert read_question_style([folder], None) == QuestionStyle()
