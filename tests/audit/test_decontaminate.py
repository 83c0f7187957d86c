"""`imp-data decontaminate`: records of any dataset that have images or questions of benchmarks."""

import json
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import encoded, photo, record

from imp_data.errors import UserError

# As in test_cli.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from typer.testing import CliRunner

    from imp_data.cli import app

pytestmark = pytest.mark.usefixtures("one_worker")

ASKED = "What is the price difference between diesel and regular gasoline?"


def command(*words: Any) -> str:
    """Return what the command prints."""
    done = CliRunner().invoke(app, [*map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


@pytest.fixture
def packs(tmp_path: Path) -> dict[str, Path]:
    """Return fingerprints of one image, and a question pack of one question."""
    (tmp_path / "quiz").mkdir()
    (tmp_path / "quiz" / "gas.png").write_bytes(encoded(photo(1)))
    command("fingerprint", tmp_path / "quiz", "-o", tmp_path / "pack.parquet")
    row = {"question_id": 7, "question": ASKED, "answer": "ten cents"}
    (tmp_path / "quiz.jsonl").write_text(json.dumps(row))
    asked = tmp_path / "asked.parquet"
    command("question-pack", tmp_path / "quiz.jsonl", "--name", "quiz", "-o", asked)
    return {"images": tmp_path / "pack.parquet", "questions": asked}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Write five records: of an image, a question, a question with its answer, nothing, a fault."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, image in (("copy.png", photo(1)), ("other.png", photo(2))):
        (folder / name).write_bytes(encoded(image))
    texts = [record(n, answer=answer) for n, answer in ((1, "No idea."), (2, "Ten cents."))]
    for one in texts:
        one["conversations"][0]["value"] = ASKED
    samples = [record(0, "copy.png"), *texts, record(3, "other.png"), record(4, answer=" ")]
    (folder / "train.json").write_text(json.dumps(samples))
    return folder


def test_records_are_listed_by_what_they_have_of_a_benchmark(
    dataset: Path, packs: dict[str, Path], tmp_path: Path
) -> None:
    named = ("--benchmarks", packs["images"], "--questions", packs["questions"])
    found = json.loads(command("decontaminate", dataset, *named, "-o", tmp_path / "out", "--json"))
    assert found == {
        "version": 1,
        "path": str(dataset),
        "revision": None,
        "rows": 5,
        "contaminated": 3,
        "benchmarks": {"pack": {"image": 1}, "quiz": {"answer": 1, "question": 1}},
        "not_compared": {"empty_value": 1},
        "not_read": {},
    }
    rows = pl.read_parquet(tmp_path / "out" / "contaminated.parquet").drop("evidence").rows()
    assert sorted(rows) == [
        ("conversations", 0, "0", "pack", "image", "bytes", "quiz/gas.png"),
        ("conversations", 1, "1", "quiz", "question", "question", "7"),
        ("conversations", 2, "2", "quiz", "answer", "question_and_answer", "7"),
    ]
    assert json.loads((tmp_path / "out" / "decontamination.json").read_text()) == found


def test_the_table_says_what_was_not_compared(dataset: Path, packs: dict[str, Path]) -> None:
    lines = command("decontaminate", dataset, "--questions", packs["questions"]).splitlines()
    assert lines[0] == f"{dataset}: 5 records, 2 with something of a benchmark"
    assert [line.split() for line in lines[2:4]] == [
        ["quiz", "answer", "1"],
        ["quiz", "question", "1"],
    ]
    assert lines[4] == "not compared: 1 records, empty_value"


def test_the_dataset_stays_as_it_is(dataset: Path, packs: dict[str, Path]) -> None:
    before = {path.name: path.read_bytes() for path in dataset.iterdir()}
    command("decontaminate", dataset, "--benchmarks", packs["images"])
    assert {path.name: path.read_bytes() for path in dataset.iterdir()} == before


def test_without_a_benchmark_it_says_how_to_name_one(dataset: Path) -> None:
    with pytest.raises(UserError) as error:
        command("decontaminate", dataset)
    assert error.value.problem == "names no benchmark to compare with"
    assert "imp-data pack" in error.value.remedy
