"""Records read in columns give the same result as records read one by one."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imp_data.manifests import Limits, Source
from imp_data.records import chunk as chunk_module
from imp_data.records.all_layouts import LAYOUTS
from imp_data.records.chunk import ChunkResult, process_chunk
from imp_data.records.rules import repair_and_check

LIMITS = Limits(max_turns=8, max_characters=200)
HERE = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMP_WORKERS", "1")


def source(layout: str, **fields: Any) -> Source:
    stated = {"name": "some", "title": "Some", "homepage": "https://example.org", "license": "MIT"}
    return Source.model_validate(
        {**stated, "layout": layout, "records": ["f_human.json"], "image_prefix": "p/", **fields}
    )


def process_all(folder: Path, of: Source, text: str) -> list[ChunkResult]:
    (folder / "f_human.json").write_text(text, errors="surrogatepass")
    return [
        process_chunk(chunk, of, LIMITS) for chunk in LAYOUTS[of.layout].chunks(folder, of, LIMITS)
    ]


def process_both_ways(
    folder: Path, of: Source, text: str
) -> tuple[list[ChunkResult], list[ChunkResult]]:
    """Return the results in columns where possible, and the results one by one."""
    fast = process_all(folder, of, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LAYOUTS, of.layout, LAYOUTS[of.layout]._replace(columns=None))
        return fast, process_all(folder, of, text)


def assert_same(fast: list[ChunkResult], slow: list[ChunkResult]) -> None:
    assert len(fast) == len(slow)
    for one, other in zip(fast, slow, strict=True):
        one.samples.validate(full=True)
        one.ledger.validate(full=True)
        assert one.samples.to_pylist() == other.samples.to_pylist()
        assert one.contents.tolist() == other.contents.tolist()
        assert one.ignored_fields == other.ignored_fields
        assert one.ledger.to_pylist() == other.ledger.to_pylist()
        assert (one.samples.schema, one.ledger.schema) == (
            other.samples.schema,
            other.ledger.schema,
        )


# Text that a repair or a rule searches for, at the borders and inside of a text, and similar text.
TOKENS = ["<image>", "<image>\n", "\n<image>", "<ima", "ge>"]
SPACES = ["\n", " ", "\t", "\u2003", "\u00a0", "\u200b", "\u2800", "\ufeff\u3164"]
CONTROLS = ["\x07", "\x7f", "\u0085", "\x9f", "\u00c2", "\ud800"]
BOXES = ["[0.10, 0.20, 0.30, 0.40]", "[0.30, 0.20, 0.10, 0.40]", "[0.10, 0.20, 0.30, 0.4", "]"]
OTHER_BOXES = ["[0.10, 0.20, 0.30, 1.40]", "[0, 0, 1, 1]", "[-0.1,0,1,1]", "[1, 2]"]
WORDS = ["What is it?", "A bus.", "yes", "é", "日本", "x" * 120]
PIECES = st.sampled_from([*TOKENS, *SPACES, *CONTROLS, *BOXES, *OTHER_BOXES, *WORDS])
TEXTS = st.lists(PIECES, max_size=3).map("".join)
QUESTIONS = st.one_of(st.just("<image>\nWhat is it?"), st.just("What is it?\n<image>"), TEXTS)
REGION = "<image>\nPlease provide a short description for this region: "
PATHS = ["coco/1.jpg", "vg/2.jpg", "textvqa/3.jpg", "gqa/é.jpg", "a.jpg", "a..b/c", "a:b", "a\nb"]
BAD_PATHS = ["", "/a", "a//b", "a/", "../a", "C:/a", "a\\b", "a\x00"]
OTHER_SPELLINGS = [
    "./coco/1.jpg",
    "coco//1.jpg",
    "vg\\2.jpg",
    "vg/./2.jpg",
    "a.jpg\n",
    "a.jpg ",
    "b/.",
]
IMAGES = st.sampled_from([*PATHS, *BAD_PATHS, *OTHER_SPELLINGS, None, 3, ["a"]])
IDS = st.sampled_from(["7", "", 7, -1, 2**63, 2**70, 1.5, True, None, ["7"], "é"])
ODD = st.sampled_from([None, 3, "text", [], {}, [[]], {"conversations": None}])


def said(*exchanges: tuple[str, str]) -> list[dict[str, str]]:
    values = [value for exchange in exchanges for value in exchange]
    return [{"from": ("human", "gpt")[n % 2], "value": value} for n, value in enumerate(values)]


def about_regions(box: str) -> list[Any]:
    return [{"image": "vg/1.jpg", "conversations": said((REGION, box))}]


@st.composite
def conversations(draw: st.DrawFn) -> Any:
    """Draw turns that mostly alternate between human and gpt."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ODD)
    exchanges = draw(st.integers(0, 5)) if draw(st.integers(0, 4)) == 0 else 1
    turns: list[Any] = []
    for number in range(exchanges):
        question = st.one_of(QUESTIONS, TEXTS.map(REGION.__add__)) if number == 0 else TEXTS
        turns += [{"from": "human", "value": draw(question)}]
        turns += [{"from": "gpt", "value": draw(st.one_of(st.just("A bus."), TEXTS))}]
    if draw(st.integers(0, 9)) == 0:
        odd: list[Any] = [{"from": "gpt", "value": "Hi"}, {"from": "human", "value": "?"}]
        odd += [{"from": "system", "value": "."}, {"from": "gpt"}, {"from": 1, "value": "a"}]
        odd += [{"from": "gpt", "value": None}, "turn", {"from": "gpt", "value": "a", "extra": 1}]
        turns.insert(draw(st.integers(0, len(turns))), draw(st.sampled_from(odd)))
    return turns


RECORDS = st.one_of(
    st.fixed_dictionaries(
        {"conversations": conversations()}, optional={"image": IMAGES, "id": IDS, "idx": IDS}
    ),
    st.fixed_dictionaries(
        {"conversations": conversations()},
        optional={
            "image": IMAGES,
            "model": st.just(""),
            "images": st.sampled_from([[], ["a.jpg"]]),
            "video": st.sampled_from([None, "a.mp4"]),
            "views": st.just(3),
            "note": st.sampled_from(["", "a note"]),
        },
    ),
    st.fixed_dictionaries({"id": st.just("1"), "image": IMAGES, "conversations": conversations()}),
    ODD,
)


def array(records: list[Any]) -> str:
    """Return JSON with lone surrogates escaped, NaN for floats, and raw control characters."""
    return json.dumps(records)


@HERE
@given(st.lists(RECORDS, min_size=1, max_size=6), st.sampled_from(["mix665k", "allava", "none"]))
@example([{"conversations": [{"from": "human", "value": "<image>"}] * 2, "image": "a"}], "none")
@example([{"id": 1, "conversations": []}, {"id": 2, "conversations": ""}], "none")
@example([{"image": "a", "conversations": said(("<ima", "ge>\nA bus."))}], "none")
@example(
    [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": 3}]}], "none"
)
@example(about_regions("[0.30, 0.20, 0.10, 0.40]"), "mix665k")
@example(about_regions("[0.10, 0.40, 0.30, 0.20]"), "mix665k")
@example(about_regions("[0.1a, 0.20, 0.30, 0.40] [0, 0, 2, 1]"), "mix665k")
def test_conversations_have_the_same_result_in_columns_and_one_by_one(
    tmp_path: Path, records: list[Any], subsets: str
) -> None:
    of = source("llava", subsets=subsets, ignore_fields=["note"])
    assert_same(*process_both_ways(tmp_path, of, array(records)))


LISTS = st.lists(st.sampled_from([*PATHS, *PATHS, "", "../a", "./a", 3]), max_size=3)
PLACES = st.sampled_from(["<image>", "<image><image>", "Here <image>\nand <image>?", "What?"])


@st.composite
def conversations_on_several(draw: st.DrawFn) -> Any:
    """Draw turns that often say <image> as often as there are two images."""
    places = st.one_of(PLACES, PLACES, TEXTS)
    answers = st.one_of(st.just("A bus."), TEXTS)
    return said(*((draw(places), draw(answers)) for _ in range(draw(st.integers(1, 2)))))


SEVERAL = st.fixed_dictionaries(
    {"conversations": st.one_of(conversations_on_several(), conversations())},
    optional={"image": st.one_of(LISTS, IMAGES), "images": LISTS, "id": IDS},
)


@HERE
@given(st.lists(st.one_of(SEVERAL, SEVERAL, ODD), min_size=1, max_size=6))
@example([{"images": ["a", "b"], "conversations": said(("<image>", "b"), ("<image>", "b"))}])
@example([{"images": ["a", "b"], "conversations": said(("<image>", "<image>"))}])
def test_several_images_have_the_same_result_in_columns_and_one_by_one(
    tmp_path: Path, records: list[Any]
) -> None:
    of = source("llava", max_images=2)
    assert_same(*process_both_ways(tmp_path, of, array(records)))


ROWS = st.fixed_dictionaries(
    {
        "image": st.sampled_from(["1.png", "1.png", "2.png", "", "../x", 3, None]),
        "question": st.one_of(st.just("Which?"), TEXTS, st.none()),
        "answer": st.one_of(st.just("two"), TEXTS, st.just(2)),
        "answers": st.one_of(st.just(["red", "pink"]), st.lists(st.one_of(TEXTS, st.none()))),
        "data_split": st.sampled_from(["train", "train", "train", "val", 1]),
        "question_id": IDS,
        "questionId": IDS,
    }
)
CHARTS = ROWS.map(lambda r: {"imgname": r["image"], "query": r["question"], "label": r["answer"]})


@pytest.mark.slow
@HERE
@given(st.lists(st.one_of(ROWS, ODD), min_size=1, max_size=8))
def test_chart_questions_have_the_same_result_in_columns_and_one_by_one(
    tmp_path: Path, rows: list[Any]
) -> None:
    for ignored in ([], ["answers", "data_split", "questionId"]):
        assert_same(
            *process_both_ways(tmp_path, source("dvqa", ignore_fields=ignored), array(rows))
        )


@HERE
@given(st.lists(st.one_of(CHARTS, ODD), min_size=1, max_size=8), st.sampled_from(["file", "none"]))
def test_human_questions_have_the_same_result_in_columns_and_one_by_one(
    tmp_path: Path, rows: list[Any], subsets: str
) -> None:
    assert_same(*process_both_ways(tmp_path, source("chartqa", subsets=subsets), array(rows)))


@pytest.mark.slow
@HERE
@given(st.lists(st.one_of(ROWS, ODD), min_size=1, max_size=8))
def test_page_questions_have_the_same_result_in_columns_and_one_by_one(
    tmp_path: Path, rows: list[Any]
) -> None:
    for ignored in ([], ["answer"]):
        of = source("docvqa", ignore_fields=ignored)
        assert_same(*process_both_ways(tmp_path, of, json.dumps({"data": rows})))


SOUND: list[tuple[str, Any]] = [
    (
        "llava",
        {"images": ["a.jpg", "b.jpg"], "conversations": [("<image> What, <image>?", "A bus.")]},
    ),
    ("llava", {"id": 1, "image": "vg/1.jpg", "conversations": [("<image>\nWhat?", "A bus.")]}),
    ("llava", {"id": "1", "conversations": [("Hello", " Hi"), ("日本", "\u00a0é")]}),
    ("llava", {"image": "coco/1.jpg", "conversations": [("What?\n<image>", "A bus.")]}),
    (
        "llava",
        {"image": "vg/1.jpg", "conversations": [(f"{REGION}[0.10, 0.20, 0.30, 0.40]", "A")]},
    ),
    ("dvqa", {"image": "1.png", "question": "How many?", "answer": "two", "question_id": 1}),
    ("chartqa", {"imgname": "1.png", "query": "How many?", "label": "2"}),
]


@pytest.mark.parametrize(("layout", "record"), SOUND)
def test_a_valid_record_is_not_checked_one_by_one(
    layout: str, record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "conversations" in record:
        record = {**record, "conversations": said(*record["conversations"])}
    monkeypatch.setattr(
        chunk_module, repair_and_check.__name__, lambda *_: pytest.fail("checked one by one")
    )
    of = source(layout, subsets="mix665k", max_images=2 if "images" in record else 1)
    (only,) = process_all(tmp_path, of, array([record] * 3))
    assert only.ledger.column("sample").to_pylist() == ([0] * 3 if layout != "llava" else [0, 1, 2])


def test_one_bad_record_leaves_the_others_in_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"id": "1", "conversations": said(("a", "b"))}
    bad = {"id": "bad", "conversations": said((" ", "b"))}
    judged: list[Any] = []
    monkeypatch.setattr(
        chunk_module,
        repair_and_check.__name__,
        lambda draft, *_: judged.append(draft.upstream_id),
    )
    text = array([good, bad, good, 3, good])
    (only,) = process_all(tmp_path, source("llava"), text)
    assert judged == ["bad"]
    assert only.ledger.column("upstream_id").to_pylist() == ["1", "bad", "1", None, "1"]
