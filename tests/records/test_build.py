"""The records stage writes Samples, and a ledger row for every upstream record."""

import errno
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.ledger import RECORDS_LEDGER_SCHEMA
from imp_data.manifests import Limits, Source
from imp_data.records.build import build_records
from imp_data.sample import RECORD_SCHEMA, content_hash, sample_id
from imp_data.storage.digests import file_sha256
from imp_data.storage.tables import read_batches

HERE = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMP_WORKERS", "1")


def source(layout: str = "llava", *records: str, **fields: Any) -> Source:
    return Source(
        name="some",
        title="Some",
        homepage="https://example.org",
        license="MIT",
        layout=layout,
        records=records or ("f.json",),
        **fields,
    )


class Built:
    """The output of the records stage for a raw directory."""

    def __init__(self, raw: Path, of: Source | None = None) -> None:
        self.arrow, self.parquet = raw / "out/some.arrow", raw / "out/some.parquet"
        self.figures = build_records(of or source(), raw, Limits(), self.arrow, self.parquet)
        batches = list(read_batches(self.arrow))
        self.samples = pa.Table.from_batches(batches, RECORD_SCHEMA).to_pylist()
        self.ledger = pq.read_table(self.parquet, schema=RECORDS_LEDGER_SCHEMA).to_pylist()

    def digests(self) -> tuple[str, str]:
        return file_sha256(self.arrow), file_sha256(self.parquet)

    def outcomes(self) -> list[tuple[int, str | None, str | None, int | None]]:
        return [(r["ordinal"], r["upstream_id"], r["reason"], r["sample"]) for r in self.ledger]


def record(number: int, answer: str = "A bus.") -> dict[str, Any]:
    question = {"from": "human", "value": "<image>\nWhat is it?"}
    turns = [question, {"from": "gpt", "value": answer}]
    return {"id": str(number), "image": f"coco/{number}.jpg", "conversations": turns}


def write(raw: Path, records: list[Any]) -> Path:
    (raw / "f.json").write_text(json.dumps(records))
    return raw


def test_a_record_becomes_a_sample_with_the_id_its_content_gives(tmp_path: Path) -> None:
    built = Built(write(tmp_path, [record(7)]))
    turns = [("human", "<image>\nWhat is it?"), ("gpt", "A bus.")]
    identity = sample_id("some", content_hash("some", "7", ["coco/7.jpg"], turns))
    assert built.samples == [
        {
            "id": identity,
            "source": "some",
            "subset": "",
            "image": "coco/7.jpg",
            "conversations": [{"from": who, "value": value} for who, value in turns],
            "upstream_id": "7",
        }
    ]
    assert built.ledger == [
        {
            "source": "some",
            "ordinal": 0,
            "upstream_id": "7",
            "id": identity,
            "outcome": None,
            "stage": None,
            "reason": None,
            "evidence": None,
            "repairs": [],
            "sample": 0,
        }
    ]


def test_every_upstream_record_has_one_ledger_row_whatever_its_outcome(tmp_path: Path) -> None:
    mended = record(1)
    mended["conversations"][0]["value"] = "What is it?\n<image>"
    write(tmp_path, [record(0), mended, None, record(3, answer=""), record(4)])
    text = (tmp_path / "f.json").read_text()
    (tmp_path / "f.json").write_text(text.replace('"coco/4.jpg"', "NaN"))
    built = Built(tmp_path)
    assert built.outcomes() == [
        (0, "0", None, 0),
        (1, "1", None, 1),
        (2, None, "wrong_type", None),
        (3, "3", "empty_value", None),
        (4, None, "not_json", None),
    ]
    dropped = [row for row in built.ledger if row["reason"]]
    assert {(row["outcome"], row["stage"], row["id"]) for row in dropped} == {
        ("dropped", "records", None)
    }
    assert [row["evidence"] for row in dropped] == [
        '{"field":"","found":"None","problem":"should be an object"}',
        '{"turn":1}',
        '{"problem":"NaN is not JSON"}',
    ]
    assert built.ledger[1]["repairs"] == [
        {"repair": "token_moved", "before": "What is it?\n<image>"}
    ]
    assert built.figures == {
        "rows": 5,
        "samples": 2,
        "subsets": {"": 2},
        "dropped": {"empty_value": 1, "not_json": 1, "wrong_type": 1},
        "repaired": {"token_moved": 1},
        "exact_repeats": 0,
        "fields_passed_over": {},
        "fields_unread": {},
    }


def test_all_rows_on_one_image_have_the_id_of_their_sample(tmp_path: Path) -> None:
    questions = [("a.png", "one?"), ("b.png", "two?"), ("a.png", "three?"), ("a.png", " ")]
    rows = [
        {"image": image, "question": question, "answer": "yes", "question_id": n}
        for n, (image, question) in enumerate(questions)
    ]
    built = Built(write(tmp_path, rows), source("dvqa", "f.json", image_prefix="dvqa/images/"))
    a, b = (sample["id"] for sample in built.samples)
    found = {row["ordinal"]: (row["upstream_id"], row["id"], row["reason"]) for row in built.ledger}
    assert found == {
        0: ("0", a, None),
        1: ("1", b, None),
        2: ("2", a, None),
        3: ("3", None, "empty_value"),
    }


def test_a_question_without_an_image_name_is_dropped(tmp_path: Path) -> None:
    rows = [{"image": "", "question": "one?", "answer": "yes", "question_id": 1}]
    built = Built(write(tmp_path, rows), source("dvqa", "f.json", image_prefix="dvqa/images/"))
    assert built.outcomes() == [(0, "1", "bad_image_path", None)]


def test_exact_repeats_are_numbered_in_upstream_order(tmp_path: Path) -> None:
    built = Built(write(tmp_path, [record(n) for n in (1, 2, 1, 1, 3, 2)]))
    first = {sample["upstream_id"]: sample["id"] for sample in reversed(built.samples)}
    assert [row["id"] for row in built.ledger] == [
        first["1"],
        first["2"],
        f"{first['1']}~2",
        f"{first['1']}~3",
        first["3"],
        f"{first['2']}~2",
    ]
    assert [sample["id"] for sample in built.samples] == [row["id"] for row in built.ledger]
    assert built.figures["exact_repeats"] == 3


def test_repeats_are_found_across_chunk_borders(tmp_path: Path) -> None:
    numbers = [*range(2500), 0, *range(2500), 2499, 0, -1]
    built = Built(write(tmp_path, [record(n) for n in numbers]))
    ids = [sample["id"].partition("~") for sample in built.samples]
    assert [int(sample["upstream_id"]) for sample in built.samples] == numbers
    seen: dict[str, int] = {}
    for identity, _, times in ids:
        seen[identity] = seen.get(identity, 0) + 1
        assert times == ("" if seen[identity] == 1 else str(seen[identity]))
    assert len(seen) == 2501
    assert built.figures["exact_repeats"] == len(numbers) - 2501
    assert [row["sample"] for row in built.ledger] == list(range(len(numbers)))
    assert [row["id"] for row in built.ledger] == [sample["id"] for sample in built.samples]


@HERE
@given(
    st.lists(st.integers(0, 30), unique=True, min_size=1),
    st.lists(st.integers(50, 80), unique=True),
    st.randoms(use_true_random=False),
)
def test_an_id_does_not_depend_on_other_records(
    tmp_path: Path, numbers: list[int], added: list[int], chance: Any
) -> None:
    def ids(numbers: list[int]) -> dict[str, str]:
        built = Built(write(tmp_path, [record(number) for number in numbers]))
        return {sample["upstream_id"]: sample["id"] for sample in built.samples}

    before = ids(numbers)
    moved = numbers + added
    chance.shuffle(moved)
    after = ids(moved)
    assert {number: after[number] for number in before} == before
    assert len(set(after.values())) == len(moved)


GOOD, FINE, EMPTY, STRANGE = record(1), record(3), record(2, answer=" "), ["no", "object"]


@HERE
@given(st.lists(st.sampled_from([GOOD, FINE, EMPTY, STRANGE, None])))
def test_rows_read_equal_samples_plus_dropped_rows(tmp_path: Path, records: list[Any]) -> None:
    built = Built(write(tmp_path, records))
    assert [row["ordinal"] for row in built.ledger] == list(range(len(records)))
    kept = [row["sample"] for row in built.ledger if row["outcome"] is None]
    assert kept == list(range(len(built.samples)))
    assert built.figures["rows"] == len(records)
    assert built.figures["samples"] == sum(r in (GOOD, FINE) for r in records)
    assert sum(built.figures["dropped"].values()) == len(records) - len(kept)


def test_the_number_of_workers_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["A bus.", "A\x07 bus.", "", "[0, 0, 1, 1]"]
    records = [record(n % 4000, answers[n % 7 % 4]) for n in range(5500)]
    write(tmp_path, records)
    alone = Built(tmp_path)
    monkeypatch.setenv("IMP_WORKERS", "4")
    together = Built(tmp_path)
    assert together.digests() == alone.digests()
    assert together.figures == alone.figures
    assert len(alone.ledger) == 5500


def test_the_number_of_workers_changes_no_byte_of_questions_on_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"image": f"{n * 7919 % 1900}.png", "question": f"{n}?", "answer": "x", "question_id": n}
        for n in range(5500)
    ]
    write(tmp_path, rows)
    alone = Built(tmp_path, source("dvqa", "f.json"))
    monkeypatch.setenv("IMP_WORKERS", "4")
    assert Built(tmp_path, source("dvqa", "f.json")).digests() == alone.digests()
    assert len(alone.samples) == 1900
    assert sorted(row["ordinal"] for row in alone.ledger) == list(range(5500))


def test_an_empty_source_gives_empty_files(tmp_path: Path) -> None:
    built = Built(write(tmp_path, []))
    assert (built.samples, built.ledger, built.figures["rows"]) == ([], [], 0)


def test_an_unreadable_file_leaves_the_earlier_output_and_no_partial_file(
    tmp_path: Path,
) -> None:
    old = Built(write(tmp_path, [record(1)])).digests()
    (tmp_path / "g.json").write_text("<html>")
    with pytest.raises(UserError, match=r"g\.json: is an HTML page, not JSON text"):
        Built(tmp_path, source("llava", "f.json", "g.json"))
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == ["some.arrow", "some.parquet"]
    assert (file_sha256(out / "some.arrow"), file_sha256(out / "some.parquet")) == old


def test_a_full_disk_leaves_no_partial_file_and_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(self: Any, table: Any, *options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path, [record(1)])
    monkeypatch.setattr(pq.ParquetWriter, "write_table", no_room)
    with pytest.raises(UserError, match=r"No space left on device.*\n.*free space"):
        Built(tmp_path)
    assert list((tmp_path / "out").iterdir()) == []
