"""`group_by`: records of one image, wherever they lie, become one Sample of several turns."""

import base64
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PUBLISHED
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from imp_data.errors import UserError
from imp_data.manifests import Limits, Source, model_digest
from imp_data.records.all_layouts import LAYOUTS
from imp_data.records.chunk import merge_results, process_chunk
from imp_data.records.forms import group_records
from imp_data.records.record_chunk import Chunk

SHORT = "\nAnswer the question using a single word or phrase."
CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 80

Row = dict[str, Any]


def source(**fields: Any) -> Source:
    files = [{"path": "*", "by_hand": "-"}]
    stated = {"layout": "questions", "records": ["*"], "files": files, "name": "pages"}
    return Source.model_validate_json(json.dumps({**PUBLISHED, **stated, **fields}))


def cell(image: bytes | None) -> Row | None:
    return None if image is None else {"bytes": image, "path": None}


def page(identity: str, document: str | None, number: str, image: bytes | None = b"A") -> Row:
    """Return a row as lmms-lab/DocVQA publishes it."""
    return {
        "questionId": identity,
        "question": f"What is {identity}?",
        "question_types": ["form"],
        "image": cell(image),
        "docId": 5,
        "ucsf_document_id": document,
        "ucsf_document_page_no": number,
        "answers": [f"{identity} of it", "another"],
        "data_split": "train",
    }


BY_PAGE = {"group_by": ["ucsf_document_id", "ucsf_document_page_no"], "suffix": "short_answer"}


def parquet(path: Path, rows: Sequence[Row], **options: Any) -> None:
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    for name in {"image", "images"} & {*columns}:
        kind = CELL if name == "image" else pa.list_(CELL)
        columns[name] = pa.array(columns[name], kind)
    pq.write_table(pa.table(columns), path, **options)


def chunks_of(folder: Path, of: Source, limits: Limits | None = None) -> list[Chunk]:
    return list(LAYOUTS[of.layout].chunks(folder, of, limits or Limits()))


def read(
    folder: Path, of: Source, limits: Limits | None = None
) -> tuple[list[Row], list[tuple[Any, ...]]]:
    """Return the Samples, and (ordinal, upstream id, reason) of each ledger row in order."""
    results = [process_chunk(one, of, Limits()) for one in chunks_of(folder, of, limits)]
    samples = [row for result in results for row in result.samples.to_pylist()]
    rows = [row for result in results for row in result.ledger.to_pylist()]
    rows.sort(key=lambda row: row["ordinal"])
    return samples, [(row["ordinal"], row["upstream_id"], row["reason"]) for row in rows]


def turns(sample: Row) -> list[str]:
    return [turn["value"] for turn in sample["conversations"]]


def evidence(folder: Path, of: Source, ordinal: int) -> Any:
    results = [process_chunk(one, of, Limits()) for one in chunks_of(folder, of)]
    rows = [row for result in results for row in result.ledger.to_pylist()]
    (found,) = [row["evidence"] for row in rows if row["ordinal"] == ordinal]
    return json.loads(found)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run all work in this process."""
    monkeypatch.setenv("IMP_WORKERS", "1")


def test_the_questions_on_a_page_become_one_sample_in_the_order_of_the_files(
    tmp_path: Path,
) -> None:
    rows = [page("1", "xnbl0037", "1"), page("2", "xnbl0037", "2", b"B"), page("3", "gh", "1")]
    parquet(tmp_path / "a.parquet", rows, row_group_size=2)
    parquet(tmp_path / "b.parquet", [page("4", "xnbl0037", "1"), page("5", "gh", "1")])
    samples, ledger = read(tmp_path, source(**BY_PAGE))
    assert [sample["upstream_id"] for sample in samples] == ["xnbl0037_1", "xnbl0037_2", "gh_1"]
    assert [sample["image"] for sample in samples] == [
        f"pages/a.parquet/@image/{n}" for n in range(3)
    ]
    assert turns(samples[0]) == [
        f"<image>\nWhat is 1?{SHORT}",
        *("1 of it", "What is 4?", "4 of it"),
    ]
    assert turns(samples[2])[2:] == ["What is 5?", "5 of it"]
    assert ledger == [(n, str(n + 1), None) for n in range(5)]


def test_a_faulty_row_falls_alone(tmp_path: Path) -> None:
    rows = [page(str(n), "a", "1") for n in range(7)]
    rows[0]["answers"] = []
    rows[1]["data_split"] = "val"
    rows[2]["question"] = " "
    rows[3]["ucsf_document_page_no"] = None
    rows[4]["answers"] = ["\u200b"]
    parquet(tmp_path / "a.parquet", rows)
    of = source(**BY_PAGE)
    (sample,), ledger = read(tmp_path, of)
    assert turns(sample) == [f"<image>\nWhat is 5?{SHORT}", "5 of it", "What is 6?", "6 of it"]
    assert sample["image"] == "pages/a.parquet/@image/5"
    assert [reason for _, _, reason in ledger] == [
        *("empty_value", "held_out_split", "empty_value", "wrong_type", "empty_value"),
        *(None, None),
    ]
    assert [identity for _, identity, _ in ledger] == [str(n) for n in range(7)]
    assert evidence(tmp_path, of, 3) == {
        "field": "ucsf_document_page_no",
        "problem": "is null, and group_by names it",
        "found": "None",
    }


def chart(query: str, image: bytes | None, human: int = 0) -> Row:
    """Return a row as HuggingFaceM4/ChartQA publishes it."""
    return {"image": cell(image), "query": query, "label": ["5"], "human_or_machine": human}


def test_charts_without_a_column_that_names_them_are_told_apart_by_their_bytes(
    tmp_path: Path,
) -> None:
    parquet(tmp_path / "a.parquet", [chart("Q0", b"A"), chart("Q1", b"B", 1)])
    parquet(tmp_path / "b.parquet", [chart("Q2", b"A", 1), chart("Q3", b"B")])
    of = source(group_by=["image"], columns={"subset": "human_or_machine"})
    samples, ledger = read(tmp_path, of)
    assert [turns(sample)[0::2] for sample in samples] == [
        ["<image>\nQ0", "Q2"],
        ["<image>\nQ1", "Q3"],
    ]
    # As in ChartQA's own files, the first question decides.
    assert [sample["subset"] for sample in samples] == ["0", "1"]
    assert [row[1] for row in ledger] == ["row-0", "row-1", "row-2", "row-3"]


def test_the_same_bytes_under_another_path_are_the_same_image(tmp_path: Path) -> None:
    rows = [{**chart(f"Q{n}", b"A"), "image": {"bytes": b"A", "path": f"{n}.png"}} for n in (0, 1)]
    parquet(tmp_path / "a.parquet", rows)
    ((sample,), _) = read(tmp_path, source(group_by=["image"]))
    assert turns(sample)[0::2] == ["<image>\nQ0", "Q1"]


def test_columns_and_bytes_together_part_images_that_a_column_confuses(tmp_path: Path) -> None:
    rows = [page("1", "a", "1", b"A"), page("2", "a", "1", b"B"), page("3", "a", "1", b"A")]
    parquet(tmp_path / "a.parquet", rows)
    by_column, _ = read(tmp_path, source(group_by=["ucsf_document_id"]))
    by_both, _ = read(tmp_path, source(group_by=["ucsf_document_id", "image"]))
    assert [len(turns(sample)) for sample in by_column] == [6]
    assert [turns(sample)[0] for sample in by_both] == [
        "<image>\nWhat is 1?",
        "<image>\nWhat is 2?",
    ]


def test_a_row_without_an_image_joins_those_that_have_it(tmp_path: Path) -> None:
    rows = [page("1", "a", "1", None), page("2", "a", "1"), page("3", "b", "1", None)]
    parquet(tmp_path / "a.parquet", rows)
    samples, _ = read(tmp_path, source(group_by=["ucsf_document_id"]))
    assert [(sample["image"], turns(sample)[0::2]) for sample in samples] == [
        ("pages/a.parquet/@image/1", ["<image>\nWhat is 1?", "What is 2?"]),
        (None, ["What is 3?"]),
    ]
    alone, _ = read(tmp_path, source(group_by=["image"]))
    assert [turns(sample)[0] for sample in alone] == [
        "What is 1?",
        "<image>\nWhat is 2?",
        "What is 3?",
    ]


def test_rows_of_several_images_are_grouped_by_the_whole_list(tmp_path: Path) -> None:
    rows = [
        {"images": [cell(b) for b in some], "texts": [{"user": f"Q{n}", "assistant": "A."}]}
        for n, some in enumerate(([b"A", b"B"], [b"B", b"A"], [b"A", b"B"]))
    ]
    parquet(tmp_path / "a.parquet", rows)
    of = source(layout="texts", group_by=["images"], max_images=2)
    samples, _ = read(tmp_path, of)
    assert [turns(sample)[0::2] for sample in samples] == [
        ["<image>\n<image>\nQ0", "Q2"],
        ["<image>\n<image>\nQ1"],
    ]


def test_brevity_phrases_of_joined_rows_become_one_suffix(tmp_path: Path) -> None:
    texts = ["Q0\nAnswer briefly.", "Q1\nBe succinct.", f"Q2{SHORT}"]
    rows = [
        {"images": [cell(b"A")], "texts": [{"user": text, "assistant": "Yes."}]} for text in texts
    ]
    parquet(tmp_path / "a.parquet", rows)
    of = source(layout="texts", group_by=["images"], wording="llava")
    (chunk,) = chunks_of(tmp_path, of)
    found = process_chunk(chunk, of, Limits())
    (sample,) = found.samples.to_pylist()
    assert turns(sample) == [f"<image>\nQ0{SHORT}", "Yes", "Q1", "Yes", "Q2", "Yes."]
    before = [[(r["repair"], r["before"]) for r in x] for x in found.ledger["repairs"].to_pylist()]
    trimmed = ("answer_trimmed", "Yes.")
    assert before == [
        [("wording_replaced", texts[0]), trimmed],
        [("wording_replaced", texts[1]), trimmed],
        [("wording_replaced", texts[2])],
    ]


def lines(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def asked(n: int, image: str, **more: Any) -> Row:
    return {"id": n, "image": image, "question": f"Q{n}", "answer": f"A{n}", **more}


def test_json_lines_are_grouped_by_the_paths_of_their_images(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", [asked(0, "x.png"), asked(1, "y.png"), {"broken": 1}])
    lines(tmp_path / "b.jsonl", [asked(2, "x.png")])
    samples, ledger = read(tmp_path, source(group_by=["image"], image_prefix="charts/"))
    assert [(s["image"], turns(s)) for s in samples] == [
        ("charts/x.png", ["<image>\nQ0", "A0", "Q2", "A2"]),
        ("charts/y.png", ["<image>\nQ1", "A1"]),
    ]
    assert [reason for _, _, reason in ledger] == [None, None, "wrong_type", None]


def test_rows_of_one_key_with_paths_of_different_images_are_not_joined(tmp_path: Path) -> None:
    rows = [asked(n, f"{n}.png", page=1) for n in (0, 1)]
    lines(tmp_path / "a.jsonl", rows)
    samples, _ = read(tmp_path, source(group_by=["page"]))
    assert [sample["image"] for sample in samples] == ["0.png", "1.png"]


def test_base64_in_json_lines_is_compared_by_its_text(tmp_path: Path) -> None:
    images = [base64.b64encode(PNG + tail).decode() for tail in (b"a", b"b", b"a")]
    lines(tmp_path / "a.jsonl", [asked(n, image) for n, image in enumerate(images)])
    samples, _ = read(tmp_path, source(group_by=["image"]))
    assert [turns(sample)[0::2] for sample in samples] == [["<image>\nQ0", "Q2"], ["<image>\nQ1"]]


def test_arrow_files_are_grouped_too(tmp_path: Path) -> None:
    rows = [chart(f"Q{n}", image) for n, image in enumerate((b"A", b"B", b"A"))]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    table = pa.table({**columns, "image": pa.array(columns["image"], CELL)})
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    samples, _ = read(tmp_path, source(group_by=["image"]))
    assert [turns(sample)[0::2] for sample in samples] == [["<image>\nQ0", "Q2"], ["<image>\nQ1"]]


def tar(path: Path, rows: Sequence[Row]) -> None:
    with tarfile.open(path, "w") as opened:
        for n, row in enumerate(rows):
            for ending, data in (("json", json.dumps(row).encode()), ("png", PNG)):
                member = tarfile.TarInfo(f"{n:05d}.{ending}")
                member.size = len(data)
                opened.addfile(member, io.BytesIO(data))


def test_records_of_a_tar_are_grouped_by_columns_but_not_by_images(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", [{"question": f"Q{n}", "answer": "5", "page": 7} for n in (0, 1)])
    (sample,), _ = read(tmp_path, source(group_by=["page"]))
    assert (sample["image"], turns(sample)[0::2]) == (
        "pages/a.tar/@/00000.png",
        ["<image>\nQ0", "Q1"],
    )
    with pytest.raises(UserError, match=r"group_by.*a\.tar, a tar, are not compared"):
        read(tmp_path, source(group_by=["image"]))


def test_chats_of_one_image_keep_their_system_prompt_if_they_share_it(tmp_path: Path) -> None:
    def chat(n: int, system: str, question: str) -> Row:
        spoken = [("system", system), ("user", question), ("assistant", f"A{n}")]
        messages = [{"role": role, "content": text} for role, text in spoken]
        return {"id": n, "images": ["x.png"], "messages": messages}

    rows = [chat(0, "Be kind.", "Q0\n<image>"), chat(1, "Be kind.", "<image>Q1")]
    lines(tmp_path / "a.jsonl", [*rows, chat(2, "Be brief.", "Q2")])
    of = source(layout="messages", group_by=["images"])
    found = [process_chunk(one, of, Limits(), ("system",)) for one in chunks_of(tmp_path, of)]
    samples = [row for result in found for row in result.samples.to_pylist()]
    assert [turns(sample) for sample in samples] == [
        ["Be kind.", "<image>\nQ0", "A0", "Q1", "A1"],
        ["Be brief.", "<image>\nQ2", "A2"],
    ]


def test_a_row_whose_tokens_must_stay_is_a_sample_of_its_own(tmp_path: Path) -> None:
    def pair(n: int, question: str) -> Row:
        return {"images": ["x.png", "y.png"], "question": question, "answer": f"A{n}"}

    lines(tmp_path / "a.jsonl", [pair(0, "Q0"), pair(1, "Is <image> like <image>?"), pair(2, "Q2")])
    samples, _ = read(tmp_path, source(group_by=["images"], max_images=2))
    assert [turns(sample)[0::2] for sample in samples] == [
        ["<image>\n<image>\nQ0", "Q2"],
        ["Is <image> like <image>?"],
    ]


def test_records_on_one_image_that_exceed_the_limit_together_are_all_dropped(
    tmp_path: Path,
) -> None:
    rows = [page(str(n), "a", "1") for n in range(5)] + [page("5", "b", "1")]
    for row in rows[:5]:
        row["question"] += "?" * 1000
    parquet(tmp_path / "a.parquet", rows)
    small = Limits(max_record_bytes=4000)
    samples, ledger = read(tmp_path, source(**BY_PAGE), small)
    assert [sample["upstream_id"] for sample in samples] == ["b_1"]
    assert [reason for _, _, reason in ledger] == ["record_too_large"] * 5 + [None]


def test_a_lost_row_group_costs_its_rows_alone(tmp_path: Path) -> None:
    rows = [page(str(n), "a", "1", bytes([n // 2]) * 400) for n in range(4)]
    parquet(tmp_path / "a.parquet", rows, row_group_size=2, compression="none")
    whole = (tmp_path / "a.parquet").read_bytes()
    first = pq.read_metadata(tmp_path / "a.parquet").row_group(0).column(1)
    start = first.dictionary_page_offset
    (tmp_path / "a.parquet").write_bytes(whole[:start] + b"\xff" * 30 + whole[start + 30 :])
    (sample,), ledger = read(tmp_path, source(**BY_PAGE))
    assert turns(sample)[0::2] == [f"<image>\nWhat is 2?{SHORT}", "What is 3?"]
    assert [reason for _, _, reason in ledger] == ["rows_lost", None, None]


def test_a_column_that_no_record_has_is_an_error_that_lists_the_columns(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [chart("Q0", b"A")])
    with pytest.raises(UserError) as raised:
        read(tmp_path, source(group_by=["image", "page"]))
    assert str(raised.value) == (
        "sources/pages.yaml, group_by: no record has a value in the column page; there are: image, "
        "query, label, human_or_machine\n  What to do: name columns that together identify an "
        "image, or the column of the image itself"
    )


def test_a_column_that_group_by_names_needs_no_ignore_fields(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", [asked(0, "x.png", folio="7 recto")])
    assert read(tmp_path, source())[1] == [(0, "0", "unread_field")]
    assert read(tmp_path, source(group_by=["folio"]))[1] == [(0, "0", None)]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"layout": "docvqa", "group_by": ["docId"]}, "layout docvqa has no columns"),
        ({"group_by": ["page", "page"]}, "a column occurs twice"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused(fields: Row, problem: str) -> None:
    with pytest.raises(ValidationError, match=f"group_by: {problem}"):
        source(**fields)


def test_a_manifest_without_the_field_keeps_its_digest() -> None:
    assert "group_by" not in source().model_dump_json()
    assert model_digest(source()) != model_digest(source(group_by=["page"]))


def test_a_chunk_can_be_read_image_by_image(tmp_path: Path) -> None:
    rows = [page(str(n), f"d{n % 3}", "1") for n in range(9)]
    parquet(tmp_path / "a.parquet", rows[:5], row_group_size=2)
    parquet(tmp_path / "b.parquet", rows[5:])
    of = source(**BY_PAGE)
    (chunk,) = chunks_of(tmp_path, of)
    whole = process_chunk(chunk, of, Limits())
    apart = [process_chunk(one, of, Limits()) for one in chunk.split()]
    assert len(apart) == 3
    merged = merge_results(apart)
    assert merged.samples.equals(whole.samples)
    assert merged.ledger.equals(whole.ledger)


def test_scattered_records_are_read_in_fewer_and_larger_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_records, "CHUNK_ROWS", 2)
    monkeypatch.setattr(group_records, "_MOST_ROWS", 64)
    rows = [page(str(n), f"d{n // 12}", "1") for n in range(144)]
    scattered = [row for start in range(12) for row in rows[start::12]]

    def chunks_and_samples(name: str, some: list[Row]) -> tuple[int, set[str]]:
        (tmp_path / name).mkdir()
        parquet(tmp_path / name / "a.parquet", some, row_group_size=12)
        of = source(**BY_PAGE)
        samples, ledger = read(tmp_path / name, of)
        assert len(ledger) == 144
        return len(chunks_of(tmp_path / name, of)), {str(turns(s)) for s in samples}

    many, one = chunks_and_samples("sorted", rows)
    few, other = chunks_and_samples("scattered", scattered)
    assert (many, few) == (12, 4)
    assert one == other


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["train", "val", ""])),
        min_size=1,
        max_size=24,
    ),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([("image",), ("ucsf_document_id",), ("image", "ucsf_document_id")]),
)
def test_any_arrangement_gives_the_samples_of_a_grouping_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[str, str]],
    files: int,
    rows_in_group: int,
    columns: tuple[str, ...],
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    rows = [
        {**page(str(n), name, "1", name.encode()), "data_split": split or "train"}
        for n, (name, split) in enumerate(drawn)
    ]
    for row, (_, split) in zip(rows, drawn, strict=True):
        row["answers"] = row["answers"] if split else [" "]
    step = -(-len(rows) // files)
    for n in range(0, len(rows), step):
        parquet(folder / f"{n:02d}.parquet", rows[n : n + step], row_group_size=rows_in_group)
    expected: dict[str, list[str]] = {}
    for n, (name, split) in enumerate(drawn):
        if split == "train":
            expected.setdefault(name, []).append(str(n))
    samples, ledger = read(folder, source(group_by=list(columns)))
    found = [[text.split("What is ")[1][:-1] for text in turns(s)[0::2]] for s in samples]
    assert found == sorted(expected.values(), key=lambda some: first_row(drawn, some))
    assert [row[0] for row in ledger] == list(range(len(rows)))
    reasons = {"train": None, "val": "held_out_split", "": "empty_value"}
    assert [row[2] for row in ledger] == [reasons[split] for _, split in drawn]


def first_row(drawn: list[tuple[str, str]], some: list[str]) -> int:
    """Return the first row of the image of these rows, a faulty one included."""
    image = drawn[int(some[0])][0]
    return next(n for n, (name, _) in enumerate(drawn) if name == image)


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_the_chunks_do_not_depend_on_the_number_of_workers(
    workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", workers)
    rows = [page(str(n), f"d{n % 4}", "1") for n in range(12)]
    parquet(tmp_path / "a.parquet", rows, row_group_size=3)
    (chunk,) = chunks_of(tmp_path, source(**BY_PAGE))
    assert chunk.ordinals.tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert chunk.groups.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
