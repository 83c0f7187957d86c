"""`imp-data audit`: a dataset without a manifest."""

import gzip
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
from imp_data.raw.image_urls.status import STATUS_FILE, UrlStatus, write_statuses

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
    assert found["records"] == [
        {"form": "conversations", "files": 1, "first_file": "train.json", "rows": 6}
    ]
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
    found = audit(folder / "train.json", "-o", folder / "out")
    ledger = pl.read_parquet(folder / "out" / "ledger.parquet")
    assert ledger["upstream_id"].to_list() == ["0", "1", "8", "9", "cut", "empty"]
    assert json.loads((folder / "out" / "audit.json").read_text()) == found
    assert audit(folder)["rows"] == 6  # neither file is taken for records


@pytest.mark.parametrize(
    ("fail_on", "status"),
    [
        ("image_missing", 3),
        ("any", 3),
        ("token_missing", 0),
        ("token_missing,image_missing", 3),
        ("50%", 3),
        ("67%", 0),
        ("image_missing:33%", 3),
        ("image_missing:34%", 0),
    ],
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
    with pytest.raises(UserError, match=r"a\.json: has no form that is known; columns: ask, reply"):
        audit(tmp_path / "a.json")
    columns = ("--column", "question=ask", "--column", "answer=reply")
    assert audit(tmp_path / "a.json", "--form", "questions", *columns)["outcomes"] == {"kept": 1}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nowhere.json",), "nowhere.json: does not exist"),
        ((".",), "holds no file of records"),
        ((".", "--form", "poem"), "'poem' is no form"),
        ((".", "--fail-on", "rain"), "rain is no reason or percentage"),
        ((".", "--fail-on", "image_missing:many"), "image_missing:many is no reason or percentage"),
        ((".", "--max-tokens", "9"), "--max-tokens: is for counting tokens"),
        ((".", "--images", "none"), "--images: none is no folder"),
        ((".", "--benchmarks", "none"), "none: is not there"),
        ((".", "--revision", "main"), "is a path of this machine, which has no revisions"),
        (("hf://datasets/lab", "--json"), "is no dataset of the Hub"),
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
    assert found["contradictions"]["questions"] == 1
    [conflict] = found["contradictions"]["examples"]
    assert (conflict["image"], sorted(conflict["answers"])) == ("0.png", ["blue", "red"])
    near = found["near_duplicates"]
    assert (near["clusters"], near["images"], near["within_bits"]) == (1, 2, 4)


def test_images_of_equal_bytes_and_very_small_ones_are_counted(folder: Path) -> None:
    for name in ("same.png", "again.png"):
        (folder / name).write_bytes((folder / "0.png").read_bytes())
    (folder / "dot.png").write_bytes(encoded(photo(3, (1, 1))))
    names = ("0.png", "same.png", "again.png", "1.png", "dot.png")
    (folder / "train.json").write_text(
        json.dumps([record(n, name) for n, name in enumerate(names)])
    )
    found = audit(folder / "train.json")
    assert found["same_bytes"] == {
        "groups": 1,
        "images": 3,
        "examples": [["0.png", "again.png", "same.png"]],
    }
    assert (found["too_small_images"], reasons(found)) == (1, {"image_too_small": 1})


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


def test_a_missing_image_has_the_status_of_its_download(tmp_path: Path) -> None:
    urls = [f"https://photos.example/{name}.jpg" for name in ("gone", "slow")]
    samples = [record(n, f"{n}.jpg") for n in range(3)]
    (tmp_path / "train.json").write_text(json.dumps(samples))
    statuses = [
        UrlStatus(urls[0], "0.jpg", "failed", "gone", http_status=404, permanent=True),
        UrlStatus(urls[1], "1.jpg", "failed", "timeout", "after 60 s", attempts=3),
    ]
    write_statuses(tmp_path / STATUS_FILE, statuses)
    found = audit(tmp_path)
    [missing] = found["reasons"]
    assert (missing["reason"], missing["records"]) == ("image_missing", 3)
    assert [one["evidence"] for one in missing["examples"]] == [
        {
            "image": "0.jpg",
            "url": urls[0],
            "url_status": "gone",
            "http_status": 404,
            "problem": "The server has no such image (404, 410).",
        },
        {
            "image": "1.jpg",
            "url": urls[1],
            "url_status": "timeout",
            "problem": "The server is too slow.",
        },
        {"image": "2.jpg"},
    ]


def test_turns_by_a_system_are_no_fault_but_one_trainer_learns_them(tmp_path: Path) -> None:
    turns = [("system", "Be short."), ("user", "Why?"), ("assistant", "So.")]
    messages = [{"role": role, "content": text} for role, text in turns]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": messages}))
    found = audit(tmp_path)
    assert found["outcomes"] == {"kept": 1}
    assert found["trainers"] == [
        {
            "trainer": "Qwen-VL finetune",
            "records": 1,
            "effect": "takes every speaker but human for the assistant",
        }
    ]


def test_lengths_are_those_of_all_records_that_can_be_read(folder: Path) -> None:
    text = audit(folder / "train.json")["text"]
    assert (text["samples"], text["with_image"]) == (5, 5)
    assert text["words"] == {
        "median": 6,
        "p95": 6,
        "p99": 6,
        "most": 6,
        "longest": {"source": "conversations", "upstream_id": "0"},
    }


def test_only_the_first_records_are_read_if_a_limit_is_stated(folder: Path) -> None:
    found = audit(folder, "--limit", 2)
    assert (found["rows"], found["limit"], found["outcomes"]) == (2, 2, {"kept": 2})


def test_files_configs_and_splits_are_chosen_by_their_names(tmp_path: Path) -> None:
    names = ("de/train-0.json", "de/val-0.json", "fr/train-0.json")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps([record(name)]))
    assert audit(tmp_path)["rows"] == 3
    assert audit(tmp_path, "--config", "de")["rows"] == 2
    assert audit(tmp_path, "--split", "train")["rows"] == 2
    assert audit(tmp_path, "--config", "de", "--split", "validation")["rows"] == 1
    assert audit(tmp_path, "--files", "*/train-*")["rows"] == 2
    with pytest.raises(UserError, match="has no config it") as error:
        audit(tmp_path, "--config", "it")
    assert error.value.remedy == "choose among de, fr"


def test_the_licence_is_that_of_the_card(folder: Path) -> None:
    assert audit(folder)["license"] is None
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Things\n")
    assert audit(folder)["license"] == "cc-by-4.0"


def test_a_list_of_data_sets_names_the_files_to_audit_instead(tmp_path: Path) -> None:
    listed = {"chart": {"root": "data/", "annotation": "chart.jsonl", "repeat_time": 1}}
    (tmp_path / "meta.json").write_text(json.dumps(listed))
    (tmp_path / "chart.jsonl").write_text(json.dumps(record(1)))
    [problem] = audit(tmp_path)["not_read"].values()
    assert problem == (
        "lists data sets, and holds no records: audit the files that it names (chart.jsonl)"
    )


def test_a_field_without_meaning_is_ignored_if_the_command_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{**record(1), "boxes": [[0, 0, 1, 1]]}]))
    assert reasons(audit(tmp_path)) == {"unread_field": 1}
    assert audit(tmp_path, "--ignore", "boxes")["outcomes"] == {"kept": 1}


def test_images_are_compared_with_fingerprints_of_a_benchmark(folder: Path) -> None:
    quiz = folder / "quiz"
    quiz.mkdir()
    (quiz / "copy.png").write_bytes((folder / "0.png").read_bytes())
    (quiz / "alike.jpg").write_bytes(encoded(photo(1), "JPEG", quality=80))
    assert CliRunner().invoke(app, ["fingerprint", str(quiz), "-o", str(folder / "q.prints")])
    found = audit(folder / "train.json", "--benchmarks", folder / "q.prints")
    assert found["contaminated"] == {"benchmark_bytes": 1, "benchmark_hash": 1}
    [bytes_equal] = [one for one in found["reasons"] if one["reason"] == "benchmark_bytes"]
    evidence = bytes_equal["examples"][0]["evidence"]
    assert (evidence["benchmark"], evidence["id"]) == ("q", "quiz/copy.png")


def test_the_tables_fit_80_columns(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["audit", str(folder), "--limit", "6"]).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "6 records (the first, by --limit 6): 2 kept (33.3 %), 4 dropped (66.7 %)" in shown


def test_compressed_files_are_read_and_nothing_is_written_beside_them(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(record(n)) for n in range(3)).encode()
    packed = {
        "a.jsonl.gz": gzip.compress(text),
        "deeper/b.json.zst": pa.Codec("zstd").compress(text, asbytes=True),
        "cut.jsonl.gz": gzip.compress(text)[:-9],
    }
    (tmp_path / "deeper").mkdir()
    for name, content in packed.items():
        (tmp_path / name).write_bytes(content)
    found = audit(tmp_path)
    assert found["records"] == [
        {"form": "conversations", "files": 2, "first_file": "a.jsonl.gz", "rows": 6}
    ]
    assert [*found["not_read"]] == ["cut.jsonl.gz"]
    assert "ends in the middle of its gzip data" in found["not_read"]["cut.jsonl.gz"]
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        name.rpartition("/")[2] for name in packed
    )


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
