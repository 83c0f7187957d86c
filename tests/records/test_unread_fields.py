"""Every field of a record is read, or ignored as meaningless, or drops the record."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import World, record, run

from imp_data.errors import UserError
from imp_data.manifests import Limits, Source
from imp_data.records import chunk as chunk_module
from imp_data.records.all_layouts import LAYOUTS
from imp_data.records.chunk import ChunkResult, process_chunk
from imp_data.records.layouts.unread_fields import LayoutFields, find_ignored_fields
from imp_data.records.rules import repair_and_check


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMP_WORKERS", "1")


def source(layout: str = "llava", records: str = "f.json", **fields: Any) -> Source:
    stated = {"name": "some", "title": "Some", "homepage": "https://example.org", "license": "MIT"}
    return Source.model_validate({**stated, "layout": layout, "records": [records], **fields})


def processed(folder: Path, of: Source, records: Any, file: str = "f.json") -> ChunkResult:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(json.dumps(records))
    (chunk,) = LAYOUTS[of.layout].chunks(folder, of, Limits())
    return process_chunk(chunk, of, Limits())


def reasons(batch: ChunkResult) -> list[str | None]:
    return [
        reason and f"{reason} {json.loads(evidence).get('field')}"
        for reason, evidence in zip(
            *(batch.ledger.column(name).to_pylist() for name in ("reason", "evidence")),
            strict=True,
        )
    ]


MEANINGFUL: dict[str, Any] = {
    "images": ["a.jpg", "b.jpg"],
    "image_path": "a.jpg",
    "video": "a.mp4",
    "videos": ["a.mp4"],
    "audio": "a.wav",
    "system": "You are a pirate.",
    "context": "The passage that the question is about.",
    "image_url": "https://example.org/a.jpg",
    "weight": 0,
    "never heard of": {"words": "some"},
}


@pytest.mark.parametrize("image", [None, "a.jpg"])
@pytest.mark.parametrize("name", MEANINGFUL)
def test_an_unread_field_that_may_matter_drops_the_record(
    name: str, image: str | None, tmp_path: Path
) -> None:
    records = [record("1", image), {**record("2", image), name: MEANINGFUL[name]}]
    batch = processed(tmp_path, source(), records)
    assert reasons(batch) == [None, f"unread_field {name}"]
    evidence = json.loads(batch.ledger.column("evidence")[1].as_py())
    assert evidence == {"field": name, "found": repr(MEANINGFUL[name])}
    assert batch.ignored_fields == {}


def test_an_image_within_a_turn_drops_the_record(tmp_path: Path) -> None:
    inner = record("1")
    inner["conversations"][0]["image"] = "a.jpg"
    batch = processed(tmp_path, source(), [inner, record("2")])
    assert reasons(batch) == ["unread_field conversations.image", None]


HARMLESS: dict[str, Any] = {
    "model": "gpt-4",
    "original_caption": "A ring.",
    "url": "https://example.org",
    "dataset": "web",
    "images": [],
    "system": "",
    "video": None,
    "views": 17,
    "checked": True,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_field_without_meaning_is_counted_and_the_record_kept(name: str, tmp_path: Path) -> None:
    records = [record("1"), {**record("2"), name: HARMLESS[name]}, {**record("3"), name: None}]
    batch = processed(tmp_path, source(), records)
    assert reasons(batch) == [None] * 3
    assert batch.ignored_fields == {name: 2}


def test_ignore_fields_lists_further_fields_without_meaning(tmp_path: Path) -> None:
    odd = {**record("1"), "note": "Mine."}
    odd["conversations"][1]["weight"] = 0.5
    of = source(ignore_fields=["note", "conversations.weight"])
    batch = processed(tmp_path, of, [odd, {**odd, "remark": "Hers."}])
    assert reasons(batch) == [None, "unread_field remark"]
    assert batch.ignored_fields == {"note": 1, "conversations.weight": 1}


def test_records_with_ignored_fields_are_still_read_in_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        chunk_module, repair_and_check.__name__, lambda *_: pytest.fail("checked one by one")
    )
    batch = processed(tmp_path, source(), [{**record(str(n)), "url": "u"} for n in range(3)])
    assert (reasons(batch), batch.ignored_fields) == ([None] * 3, {"url": 3})


QUESTION = {"question": "How many?", "image": "1.png", "answer": "two", "answers": ["two"]}
QUESTION |= {"data_split": "train", "question_id": 1, "questionId": 1, "image_local_name": "1.png"}
LAYOUT_ROWS: dict[str, dict[str, Any]] = {
    "dvqa": {k: QUESTION[k] for k in ("question", "image", "answer", "question_id")},
    "chartqa": {"imgname": "1.png", "query": "How many?", "label": "2"},
    "docvqa": {k: QUESTION[k] for k in ("question", "image", "answers", "data_split")},
    "infographicvqa": {
        k: QUESTION[k] for k in ("question", "image_local_name", "answers", "data_split")
    },
}
# Further fields in the publication of each layout.
PUBLISHED: dict[str, dict[str, Any]] = {
    "dvqa": {"question_type": "data", "template_id": "x", "answer_bbox": [1.5, 2, 3, 4]},
    "chartqa": {},
    "docvqa": {"question_types": ["form"], "docId": 7, "ucsf_document_id": "abc1"},
    "infographicvqa": {"image_url": "https://example.org/1.jpeg", "ocr_output_file": "1.json"},
}


@pytest.mark.parametrize("layout", LAYOUT_ROWS)
def test_questions_ignore_published_fields_and_drop_unknown_ones(
    layout: str, tmp_path: Path
) -> None:
    row = LAYOUT_ROWS[layout]
    rows = [{**row, **PUBLISHED[layout]}, {**row, "second_image": "2.png"}]
    content = {"data": rows} if layout in ("docvqa", "infographicvqa") else rows
    batch = processed(tmp_path, source(layout), content)
    assert reasons(batch) == [None, "unread_field second_image"]
    assert batch.ignored_fields == dict.fromkeys(PUBLISHED[layout], 1)


def test_an_unread_field_of_a_diagram_file_drops_its_questions(tmp_path: Path) -> None:
    asked = {"abcLabel": False, "answerTexts": ["a", "b"], "correctAnswer": 0, "questionId": "0-0"}
    file = {"imageName": "0.png", "questions": {"Which?": asked, "What?": {**asked, "hint": "b"}}}
    of = source("ai2d", "questions/*.json")
    assert reasons(processed(tmp_path, of, file, "questions/0.json")) == [
        None,
        "unread_field hint",
    ]
    batch = processed(tmp_path, of, {**file, "caption": "An eye."}, "questions/0.json")
    assert reasons(batch) == ["unread_field caption"] * 2


def test_an_unread_column_drops_the_rows_that_have_a_value_in_it(
    tmp_path: Path,
) -> None:
    columns = {"link": ["l"] * 3, "caption": ["A cat."] * 3, "message_id": ["1", "2", "3"]}
    columns |= {"timestamp": ["t"] * 3, "image": [None, b"bytes", None]}
    pq.write_table(pa.table({**columns, "prompt": [None, "", "Be brief."]}), tmp_path / "f.parquet")
    of = source("laion_gpt4v", "f.parquet", prompts=["Describe it."])
    (chunk,) = LAYOUTS["laion_gpt4v"].chunks(tmp_path, of, Limits())
    batch = process_chunk(chunk, of, Limits())
    assert reasons(batch) == [None, None, "unread_field prompt"]
    assert batch.ignored_fields == {"timestamp": 2, "image": 2, "prompt": 2}


def test_records_are_checked_one_by_one_only_if_a_field_may_matter() -> None:
    keys = LayoutFields(frozenset({"id"}), frozenset({"url"}))
    assert find_ignored_fields([{"id": 1}, {}], keys, source()) is None
    assert find_ignored_fields([{"id": 1, "url": 2}, {}], keys, source()) == [("url",), ()]
    with pytest.raises(TypeError):
        find_ignored_fields([{"id": 1}, {"note": "words"}], keys, source())


def test_the_figures_and_the_card_count_fields_by_source(world: World) -> None:
    records = [{**record(n), "model": "m", "views": n} for n in range(3)]
    world.source("chats", [*records, {**record(3), "system": "Be brief."}])
    results = run(world.build({"chats": 9}))
    figures = results["records/chats"].figures
    assert figures["fields_passed_over"] == {"model": 3, "views": 3}
    assert figures["fields_unread"] == {"system": 1}
    card = (world.data.mixture("small") / "README.md").read_text()
    assert "| chats | `model` | 3 | read without it |" in card
    assert "| chats | `system` | 1 | dropped |" in card


def test_an_unread_field_in_all_records_is_an_error_with_a_remedy(
    world: World,
) -> None:
    records = [{**record(n), "note": "Mine."} for n in range(3)]
    world.source("chats", records)
    with pytest.raises(UserError) as error:
        run(world.build({"chats": 9}))
    assert error.value.where == "records/chats"
    assert error.value.problem == (
        "all 3 records have a field that layout llava does not read: note (3)"
    )
    assert "ignore_fields: [note]" in error.value.remedy
    world.source("chats", records, ignore_fields=["note"])
    assert run(world.build({"chats": 9}))["mixture"].figures["rows"] == 3


def test_a_field_that_the_layout_reads_cannot_be_ignored(world: World) -> None:
    world.source("chats", [record(1)], ignore_fields=["image"])
    with pytest.raises(UserError, match="reads image, which cannot be ignored"):
        run(world.build({"chats": 9}))
