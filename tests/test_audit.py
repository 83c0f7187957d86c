"""`imp-data audit`: a dataset without a manifest."""

import json
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, photo, record

from imp_data.errors import UserError

# As in test_cli.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from typer.testing import CliRunner

    from imp_data.cli import app

pytestmark = pytest.mark.usefixtures("one_worker")


def audit(*arguments: Any) -> dict[str, Any]:
    """Return what the command prints as JSON."""
    done = CliRunner().invoke(app, ["audit", *map(str, arguments), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reasons(found: dict[str, Any]) -> dict[str, int]:
    return {one["reason"]: one["records"] for one in found["reasons"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write LLaVA records: two good ones, two without their image, a broken one, a bad one."""
    for name, image in (("0.png", photo(0)), ("1.png", photo(1))):
        (tmp_path / name).write_bytes(encoded(image))
    (tmp_path / "cut.png").write_bytes(encoded(photo(2))[:-200])
    records = [record(n, f"{n}.png", f"Thing {n}.") for n in (0, 1, 8, 9)]
    records += [record("cut", "cut.png"), record("empty", "1.png", " ")]
    (tmp_path / "train.json").write_text(json.dumps(records))
    return tmp_path


def test_every_record_has_an_outcome_and_every_reason_an_example(folder: Path) -> None:
    found = audit(folder / "train.json")
    assert found["records"] == [{"form": "conversations", "files": 1, "first_file": "train.json"}]
    assert (found["rows"], found["outcomes"]) == (6, {"dropped": 4, "kept": 2})
    assert reasons(found) == {"image_missing": 2, "empty_value": 1, "image_truncated": 1}
    assert found["images"] == {"missing": 2, "ok": 2, "truncated": 1}
    [first, *_] = found["reasons"]
    assert [one["upstream_id"] for one in first["examples"]] == ["8", "9"]


def test_trainers_would_do_other_things_with_the_records_that_are_dropped(folder: Path) -> None:
    effects = audit(folder / "train.json")["trainers"]
    assert [(e["records"], e["effect"]) for e in effects if e["trainer"] == "InternVL"] == [
        (3, "trains on a random record in its place")
    ]


def test_a_folder_is_audited_with_all_its_files_by_form(folder: Path) -> None:
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    image = pa.array([{"bytes": encoded(photo(5)), "path": None}])
    pq.write_table(pa.table({"messages": [messages], "image": image}), folder / "more.parquet")
    (folder / "dataset_info.json").write_text("{}")
    found = audit(folder)
    assert [(one["form"], one["first_file"]) for one in found["records"]] == [
        ("messages", "more.parquet"),
        ("conversations", "train.json"),
    ]
    assert (found["rows"], found["images"]["ok"]) == (7, 3)


def test_images_are_sought_in_another_folder_if_one_is_named(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    records = elsewhere / "train.json"
    records.write_text((folder / "train.json").read_text())
    assert audit(records)["images"] == {"missing": 5}
    assert audit(records, "--images", folder)["images"]["ok"] == 2


def test_the_ledger_has_a_row_for_each_record(folder: Path) -> None:
    audit(folder / "train.json", "--ledger", folder / "out" / "ledger.parquet")
    ledger = pl.read_parquet(folder / "out" / "ledger.parquet")
    assert ledger["upstream_id"].to_list() == ["0", "1", "8", "9", "cut", "empty"]


@pytest.mark.parametrize(
    ("fail_on", "status"), [("image_missing", 1), ("any", 1), ("token_missing", 0)]
)
def test_the_exit_status_follows_from_the_reasons_named(
    fail_on: str, status: int, folder: Path
) -> None:
    arguments = ["audit", str(folder / "train.json"), "--fail-on", fail_on]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == status
    assert "image_missing" in done.stdout


def test_columns_with_other_names_are_named_in_the_command(tmp_path: Path) -> None:
    rows = [{"ask": "Why?", "reply": "So."}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"a\.json: ask, reply"):
        audit(tmp_path / "a.json")
    columns = ("--column", "question=ask", "--column", "answer=reply")
    assert audit(tmp_path / "a.json", "--form", "questions", *columns)["outcomes"] == {"kept": 1}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nowhere.json",), "nowhere.json: does not exist"),
        ((".",), "holds no file of records"),
        ((".", "--form", "poem"), "'poem' is no form"),
        ((".", "--fail-on", "rain"), "rain is no reason"),
        ((".", "--column", "ask=question"), "'ask=question' is no role and column"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: tuple[str, ...], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=problem):
        audit(*arguments)


def test_conflicting_answers_and_near_duplicates_are_counted(folder: Path) -> None:
    (folder / "copy.jpg").write_bytes(encoded(photo(0), "JPEG", quality=85))
    records = [
        *(record(n, "0.png", answer) for n, answer in enumerate(("Red.", "Blue."))),
        record(2, "copy.jpg", "Red."),
    ]
    (folder / "train.json").write_text(json.dumps(records))
    found = audit(folder / "train.json")
    assert found["contradictions"] == 1
    assert found["near_duplicates"] == {"clusters": 1, "images": 2, "within_bits": 4}


def test_a_damaged_file_is_named_and_the_others_are_audited(folder: Path) -> None:
    (folder / "cut.parquet").write_bytes(b"PAR1 and no more")
    (folder / "other.json").write_text('[{"bird": "owl"}]')
    found = audit(folder, "--fail-on", "any")
    assert (found["rows"], sorted(found["not_read"])) == (6, ["cut.parquet", "other.json"])
    assert found["not_read"]["cut.parquet"].startswith("is not a complete Parquet file")
    assert found["not_read"]["other.json"] == "has no form that is known; columns: bird"


def test_a_field_that_no_form_reads_is_a_reason_even_if_all_records_have_it(tmp_path: Path) -> None:
    record = {"query": "Why?", "response": "So.", "videos": ["a.mp4"]}
    (tmp_path / "a.json").write_text(json.dumps([record]))
    assert reasons(audit(tmp_path / "a.json")) == {"unread_field": 1}


SPECIFIC = "What is the price difference between diesel and regular gasoline?"


def question_pack(folder: Path, *options: str) -> Any:
    """Run `question-pack` on a file of one question; return what it did."""
    row = {"n": 1, "frage": SPECIFIC, "gt": "ten cents", "img": "gas.png"}
    (folder / "quiz.jsonl").write_text(json.dumps(row))
    words = ["question-pack", str(folder / "quiz.jsonl"), "--name", "quiz", *options]
    return CliRunner().invoke(app, [*words, "-o", str(folder / "quiz.parquet"), "--json"])


def test_records_with_a_benchmarks_questions_are_counted(tmp_path: Path) -> None:
    columns = ("id=n", "question=frage", "answers=gt", "image=img")
    done = question_pack(tmp_path, *(f"--column={column}" for column in columns))
    figures = {"questions": 1, "different": 1, "images": 1, "with_ngrams": 0}
    assert json.loads(done.stdout) == figures
    data = tmp_path / "data"
    data.mkdir()
    asked = [record(1), record(2, answer="None."), record(3, answer="Ten cents.")]
    for one in asked[1:]:
        one["conversations"][0]["value"] = f"{SPECIFIC}\nAnswer briefly."
    (data / "train.json").write_text(json.dumps(asked))
    found = audit(data, "--questions", tmp_path / "quiz.parquet")
    seen = {"image_and_question": 0, "image": 0, "answer": 1, "question": 1}
    assert found["benchmark_questions"] == {"quiz": seen}
    assert found["outcomes"] == {"kept": 3}
    assert audit(data)["benchmark_questions"] == {}


def test_two_packs_of_one_benchmark_and_an_unknown_role_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no role and column"):
        raise question_pack(tmp_path, "--column=text=frage").exception
    question_pack(tmp_path, "--column=question=frage")
    pack = tmp_path / "quiz.parquet"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json").write_text(json.dumps([record(1)]))
    with pytest.raises(UserError, match="two question packs are of quiz"):
        audit(tmp_path / "data", "--questions", pack, "--questions", pack)
