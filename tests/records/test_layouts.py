"""Each layout turns records in upstream's published form into Drafts of Samples."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.ledger import AppliedRepair, Repair
from imp_data.manifests import Limits, Source
from imp_data.records.all_layouts import LAYOUTS
from imp_data.records.layouts.subsets import subset_of
from imp_data.sample import Draft, RejectedRecord

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."


def source(layout: str, *records: str, **fields: Any) -> Source:
    return Source(
        name="some",
        title="Some",
        homepage="https://example.org",
        license="MIT",
        layout=layout,
        records=records,
        **fields,
    )


def read(raw: Path, of: Source) -> tuple[list[Draft], list[RejectedRecord]]:
    """Return all Drafts and rejected records that the layout makes of a raw directory."""
    layout = LAYOUTS[of.layout]
    groups = [
        group for chunk in layout.chunks(raw, of, Limits()) for group in layout.groups(chunk, of)
    ]
    items = [item for group in groups for item in layout.assemble(group, of)]
    drafts = [item for item in items if isinstance(item, Draft)]
    return drafts, [item for item in items if isinstance(item, RejectedRecord)]


def describe_rejections(
    rejected: list[RejectedRecord],
) -> list[tuple[int, str | None, str, dict[str, Any]]]:
    return [(r.row.ordinal, r.row.upstream_id, *r.verdict) for r in rejected]


def write(file: Path, value: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def exchange(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


# LLaVA's own layout

BUS = {
    "id": "000000033471",
    "image": "coco/train2017/000000033471.jpg",
    "conversations": exchange("<image>\nWhat are the colors of the bus?", "White and red."),
}
CHAT = {"id": "wgByO4Y_0", "model": "", "conversations": exchange("Hello", "Hi")}
EVOL = {"idx": 7, "conversations": exchange("Sort a list", "sorted(x)")}


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_llava_record_becomes_a_draft_unchanged(form: str, tmp_path: Path) -> None:
    array = json.dumps([BUS, CHAT, EVOL])
    lines = "\n".join(map(json.dumps, (BUS, CHAT, EVOL)))
    (tmp_path / "f.json").write_text(array if form == "array" else lines)
    drafts, rejected = read(tmp_path, source("llava", "f.json", subsets="mix665k"))
    assert not rejected
    assert [(d.upstream_id, d.subset, d.images, d.turns) for d in drafts] == [
        (
            "000000033471",
            "llava_instruct",
            ("coco/train2017/000000033471.jpg",),
            [("human", "<image>\nWhat are the colors of the bus?"), ("gpt", "White and red.")],
        ),
        ("wgByO4Y_0", "sharegpt", (), [("human", "Hello"), ("gpt", "Hi")]),
        ("7", "sharegpt", (), [("human", "Sort a list"), ("gpt", "sorted(x)")]),
    ]
    assert [row.ordinal for d in drafts for row in d.rows] == [0, 1, 2]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('"140031996X"', "140031996X"),
        ('"VG_100K/2317533"', "VG_100K/2317533"),
        ("33471", "33471"),
        ('"000000033471"', "000000033471"),
        ("0", "0"),
        ("18446744073709551615", "18446744073709551615"),
        ("31415926535897932384", "31415926535897932384"),
        ("1234567890123456789012345", "1234567890123456789012345"),
    ],
)
def test_an_id_is_kept_as_upstream_wrote_it(written: str, kept: str, tmp_path: Path) -> None:
    turns = json.dumps(BUS["conversations"])
    (tmp_path / "f.json").write_text(f'[{{"id": {written}, "conversations": {turns}}}]')
    drafts, _ = read(tmp_path, source("llava", "f.json"))
    assert [(d.upstream_id, d.rows[0].upstream_id) for d in drafts] == [(kept, kept)]


@pytest.mark.parametrize(
    ("changed", "field", "found"),
    [
        ({"image": ["a.jpg", 2]}, "image", "['a.jpg', 2]"),
        ({"image": {"path": "a.jpg"}}, "image", "{'path': 'a.jpg'}"),
        ({"conversations": "Hello"}, "conversations", "'Hello'"),
        ({"conversations": [{"from": "gpt"}]}, "conversations.0.value", "{'from': 'gpt'}"),
        ({"conversations": [{"from": "gpt", "value": 3}]}, "conversations.0.value", "3"),
        ({"conversations": None}, "conversations", "None"),
    ],
)
def test_a_wrong_type_names_the_field_and_quotes_its_value(
    changed: Any, field: str, found: str, tmp_path: Path
) -> None:
    write(tmp_path / "f.json", [CHAT, BUS | changed])
    _, [(row, verdict)] = read(tmp_path, source("llava", "f.json"))
    assert (row.ordinal, row.upstream_id, verdict.reason) == (1, "000000033471", "wrong_type")
    assert (verdict.evidence["field"], verdict.evidence["found"]) == (field, found)


PAIR = {
    "id": "pair",
    "conversations": exchange("<image>\nAnd <image>\nWhat differs?", "The sign."),
}


@pytest.mark.parametrize(
    ("given", "images"),
    [
        ({"image": ["a.jpg", "b.jpg"]}, ("p/a.jpg", "p/b.jpg")),
        ({"images": ["a.jpg", "b.jpg", "a.jpg"]}, ("p/a.jpg", "p/b.jpg", "p/a.jpg")),
        ({"image": "a.jpg"}, ("p/a.jpg",)),
        ({"images": ["a.jpg"], "image": None}, ("p/a.jpg",)),
        ({"image": []}, ()),
        ({}, ()),
    ],
)
def test_a_source_with_several_images_reads_lists_of_them(
    given: Any, images: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path / "f.json", [PAIR | given])
    [draft], rejected = read(tmp_path, source("llava", "f.json", image_prefix="p/", max_images=3))
    assert (draft.images, draft.repairs, rejected) == (images, [], [])


@pytest.mark.parametrize(
    ("given", "field", "found"),
    [
        ({"images": ["a.jpg", 2]}, "images.1", "2"),
        ({"image": {"path": "a.jpg"}}, "images", "{'path': 'a.jpg'}"),
        ({"image": "a", "images": ["b"]}, "images", "{'image': 'a', 'images': ['b']}"),
    ],
)
def test_a_list_of_images_of_a_wrong_type_is_named(
    given: Any, field: str, found: str, tmp_path: Path
) -> None:
    write(tmp_path / "f.json", [PAIR | given])
    _, [(_, verdict)] = read(tmp_path, source("llava", "f.json", max_images=3))
    assert (verdict.evidence["field"], verdict.evidence["found"]) == (field, found)


def test_a_source_with_one_image_a_record_drops_records_of_several(tmp_path: Path) -> None:
    write(tmp_path / "f.json", [PAIR | {"image": ["a.jpg", "b.jpg"]}, CHAT])
    [draft], [(row, verdict)] = read(tmp_path, source("llava", "f.json"))
    assert (draft.upstream_id, row.upstream_id) == (CHAT["id"], "pair")
    assert verdict == ("too_many_images", {"images": 2, "most": 1})


def test_a_long_integer_id_of_a_rejected_record_is_kept(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('[{"id": 1234567890123456789012345, "conversations": 1}]')
    _, [rejected] = read(tmp_path, source("llava", "f.json"))
    assert rejected.row.upstream_id == "1234567890123456789012345"


@pytest.mark.parametrize(
    ("written", "kept", "before"),
    [
        ("1.5", "1.5", "1.5"),
        ("3.0", "3.0", "3.0"),
        ("true", "true", "true"),
        ('["a", 1]', '["a",1]', '["a",1]'),
        ('{"$oid": "5f"}', '{"$oid":"5f"}', '{"$oid":"5f"}'),
    ],
)
def test_an_id_that_is_neither_text_nor_integer_becomes_text(
    written: str, kept: str, before: str, tmp_path: Path
) -> None:
    turns = json.dumps(BUS["conversations"])
    (tmp_path / "f.json").write_text(f'[{{"id": {written}, "conversations": {turns}}}]')
    [draft], rejected = read(tmp_path, source("llava", "f.json"))
    assert not rejected
    assert (draft.upstream_id, draft.rows[0].upstream_id) == (kept, kept)
    assert draft.rows[0].repairs == [AppliedRepair(Repair.ID_TO_TEXT, before)]


def test_a_record_without_an_id_is_named_by_its_position_in_the_ledger_only(tmp_path: Path) -> None:
    bare = {"conversations": CHAT["conversations"]}
    write(tmp_path / "f.json", [BUS, {"id": None, **bare}, bare, {"id": None, "idx": 7, **bare}])
    drafts, _ = read(tmp_path, source("llava", "f.json"))
    # Its Sample's id comes from its content, which other records do not affect.
    assert [d.upstream_id for d in drafts] == ["000000033471", "", "", "7"]
    assert [d.rows[0].upstream_id for d in drafts] == ["000000033471", "row-1", "row-2", "7"]
    repairs = [d.rows[0].repairs for d in drafts]
    assert repairs == [[], [AppliedRepair(Repair.ID_FROM_PLACE, "null")], [], []]


def test_a_list_of_one_image_is_read_as_that_image(tmp_path: Path) -> None:
    write(tmp_path / "f.json", [{**BUS, "image": ["coco/é.jpg"]}])
    [draft], rejected = read(tmp_path, source("llava", "f.json", image_prefix="p/"))
    assert (draft.images, rejected) == (("p/coco/é.jpg",), [])
    assert draft.rows[0].repairs == [AppliedRepair(Repair.IMAGE_UNLISTED, '["coco/é.jpg"]')]


@pytest.mark.parametrize("nothing", ["", " ", [], [""]])
def test_an_empty_image_path_without_a_token_is_text_only(nothing: Any, tmp_path: Path) -> None:
    write(tmp_path / "f.json", [{**CHAT, "image": nothing}, {**BUS, "image": nothing}])
    drafts, rejected = read(tmp_path, source("llava", "f.json", subsets="mix665k"))
    assert (drafts[0].images, drafts[0].subset, rejected) == ((), "sharegpt", [])
    assert drafts[0].rows[0].repairs[-1].repair == Repair.EMPTY_IMAGE_REMOVED
    # With <image> in its text, the record has lost its image's path.
    assert [image.strip() for image in drafts[1].images] == [""]


@pytest.mark.parametrize("value", ["null", "17", '"text"', '["a"]'])
def test_a_record_that_is_not_an_object_is_dropped_alone(value: str, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(f"[{json.dumps(BUS)}, {value}, {json.dumps(CHAT)}]")
    drafts, rejected = read(tmp_path, source("llava", "f.json"))
    assert [d.upstream_id for d in drafts] == ["000000033471", "wgByO4Y_0"]
    problem = {"field": "", "problem": "should be an object", "found": repr(json.loads(value))}
    assert describe_rejections(rejected) == [(1, None, "wrong_type", problem)]


CAPTION = "Provide a one-sentence caption for the provided image.\nReference OCR token: A, B"
BOX = "Please provide the bounding box coordinate of the region this sentence describes: man."
REGION = "Please provide a short description for this region: [0.1, 0.2, 0.3, 0.4]"


@pytest.mark.parametrize(
    ("image", "question", "subset"),
    [
        (None, "Hello", "sharegpt"),
        ("textvqa/train_images/011e7e629fb9ae7b.jpg", CAPTION, "textcaps"),
        ("coco/train2017/1.jpg", f"Who?\nA. x\nB. y{LETTER}", "a_okvqa"),
        ("coco/train2017/1.jpg", f"Who?{SHORT}", "vqav2_okvqa"),
        ("gqa/images/2349510.jpg", f"Who?{SHORT}", "gqa"),
        ("ocr_vqa/images/140031996X.jpg", f"Who?{SHORT}", "ocr_vqa"),
        ("coco/train2017/1.jpg", BOX, "refcoco"),
        ("coco/train2017/1.jpg", REGION, "refcoco"),
        ("vg/VG_100K/1.jpg", BOX, "vg"),
        ("vg/VG_100K_2/1.jpg", REGION, "vg"),
        ("coco/train2017/1.jpg", "What is this photo about?", "llava_instruct"),
    ],
)
def test_the_subset_of_a_mix665k_record_follows_from_path_and_wording(
    image: str | None, question: str, subset: str
) -> None:
    assert subset_of("mix665k", image, f"<image>\n{question}" if image else question) == subset
    assert subset_of("mix665k", image, f"{question}\n<image>" if image else question) == subset


VFLAN = "allava_vflan/images/images_191task_1k/"


@pytest.mark.parametrize(
    ("rule", "image", "subset"),
    [
        ("allava", "allava_laion/images/100277305.jpeg", "laion"),
        (
            "allava",
            f"{VFLAN}VQA-E+image_captioning_574_COCO_train2014_000000119456.jpg",
            "vflan:VQA-E+image_captioning",
        ),
        (
            "allava",
            f"{VFLAN}textcaps+caption_generation_12_011e7e629fb9ae7b.jpg",
            "vflan:textcaps+caption_generation",
        ),
        (
            "allava",
            f"{VFLAN}Office_31+Image_Classification_8_a.jpg",
            "vflan:Office_31+Image_Classification",
        ),
        ("allava", f"{VFLAN}VQAv2_3_COCO_train2014_000000119456.jpg", "vflan:VQAv2"),
        ("allava", f"{VFLAN}unnamed.jpg", "vflan:other"),
        ("image_family", "coco/train2017/000000125860.jpg", "coco"),
        ("image_family", "llava/llava_pretrain/images/00120/001200924.jpg", "llava_pretrain"),
        ("image_family", "sam/images/sa_545504.jpg", "sam"),
        ("image_family", "share_textvqa/images/011e7e629fb9ae7b.jpg", "share_textvqa"),
        ("image_family", "web-celebrity/images/a.jpg", "web_celebrity"),
        ("image_family", "web-landmark/images/a.jpg", "web_landmark"),
        ("image_family", "wikiart/images/a.jpg", "wikiart"),
        ("none", "coco/train2017/000000125860.jpg", ""),
    ],
)
def test_the_subset_of_an_image_follows_from_its_path(rule: Any, image: str, subset: str) -> None:
    assert subset_of(rule, image, "<image>\nWhat is this photo about?") == subset


# Questions on images


def dvqa(image: str, question: str, answer: Any, number: int) -> dict[str, Any]:
    words = {"image": image, "question": question, "answer": answer, "question_id": number}
    return words | {"question_type": "data", "bbox_answer": []}


BAR = [
    dvqa("bar_train_00000001.png", " How many bars are there? ", "two", 11),
    dvqa("bar_train_00000002.png", "What is the title?", "Sales", 12),
    dvqa("bar_train_00000001.png", "What is the value of cat?", "7", 13),
]


def test_questions_on_one_image_become_one_conversation(tmp_path: Path) -> None:
    write(tmp_path / "qa.json", BAR)
    drafts, rejected = read(tmp_path, source("dvqa", "qa.json", image_prefix="dvqa/images/"))
    assert not rejected
    first, second = drafts
    assert (first.upstream_id, *first.images, first.subset) == (
        "bar_train_00000001.png",
        "dvqa/images/bar_train_00000001.png",
        "",
    )
    assert first.turns == [
        ("human", f"<image>\nHow many bars are there?{SHORT}"),
        ("gpt", "two"),
        ("human", "What is the value of cat?"),
        ("gpt", "7"),
    ]
    assert [(row.ordinal, row.upstream_id) for row in first.rows] == [(0, "11"), (2, "13")]
    assert second.turns == [("human", f"<image>\nWhat is the title?{SHORT}"), ("gpt", "Sales")]


@pytest.mark.parametrize(
    ("exchange", "reason", "field"),
    [
        (("What?", ""), "empty_value", "answer"),
        ((" \n", "x"), "empty_value", "question"),
        (("What is <image>?", "x"), "token_repeated", "question or answer"),
        (("What?", "<image>"), "token_repeated", "question or answer"),
    ],
)
def test_a_bad_question_leaves_the_others_on_its_image_unaffected(
    exchange: tuple[str, str], reason: str, field: str, tmp_path: Path
) -> None:
    write(tmp_path / "qa.json", [dvqa("a.png", *exchange, 9), dvqa("a.png", "Which?", "cat", 10)])
    [draft], rejected = read(tmp_path, source("dvqa", "qa.json"))
    assert draft.turns == [("human", f"<image>\nWhich?{SHORT}"), ("gpt", "cat")]
    assert describe_rejections(rejected) == [(0, "9", reason, {"field": field})]


def test_a_question_with_a_long_integer_id_keeps_its_digits(tmp_path: Path) -> None:
    write(tmp_path / "qa.json", [dvqa("a.png", "Which?", "cat", 31415926535897932384)])
    [draft], _ = read(tmp_path, source("dvqa", "qa.json"))
    assert draft.rows[0].upstream_id == "31415926535897932384"


CHARTS = Path("ChartQA Dataset/train")
CHART_SOURCE = source(
    "chartqa",
    str(CHARTS / "train_human.json"),
    str(CHARTS / "train_augmented.json"),
    subsets="file",
    image_prefix="chartqa/train/png/",
)


def chart(image: str, query: str, label: Any) -> dict[str, Any]:
    return {"imgname": image, "query": query, "label": label}


def test_human_and_generated_questions_on_a_chart_are_joined_with_labels_unchanged(
    tmp_path: Path,
) -> None:
    human = [
        chart("10095.png", "Is Favorable 38 in 2015?", "Yes"),
        chart("7.png", "Which two years?", "[63, 26]"),
    ]
    generated = [
        chart("8.png", "Which year?", "44362"),
        chart("10095.png", "Wjhat ratio?", "0.39"),
    ]
    write(tmp_path / CHARTS / "train_human.json", human)
    write(tmp_path / CHARTS / "train_augmented.json", generated)
    drafts, rejected = read(tmp_path, CHART_SOURCE)
    assert not rejected
    assert [(*d.images, d.subset, [value for _, value in d.turns]) for d in drafts] == [
        (
            "chartqa/train/png/10095.png",
            "human",
            [f"<image>\nIs Favorable 38 in 2015?{SHORT}", "Yes", "Wjhat ratio?", "0.39"],
        ),
        ("chartqa/train/png/7.png", "human", [f"<image>\nWhich two years?{SHORT}", "[63, 26]"]),
        ("chartqa/train/png/8.png", "augmented", [f"<image>\nWhich year?{SHORT}", "44362"]),
    ]  # fmt: skip
    assert [[row.ordinal for row in d.rows] for d in drafts] == [[0, 3], [1], [2]]


def test_a_label_that_is_not_text_is_a_wrong_type(tmp_path: Path) -> None:
    write(tmp_path / "h.json", [chart("1.png", "How many?", 44362)])
    _, rejected = read(tmp_path, source("chartqa", "h.json"))
    problem = {"field": "label", "problem": "Input should be a valid string", "found": "44362"}
    assert describe_rejections(rejected) == [(0, "1.png", "wrong_type", problem)]


def page(number: int, image: str, answers: list[str], split: str = "train") -> dict[str, Any]:
    where = {"docId": 3, "ucsf_document_id": "ffbf0023", "ucsf_document_page_no": "4"}
    fields = {"question": f"Question {number}?", "question_types": ["form"], "answers": answers}
    return {"questionId": number, "image": image, "data_split": split} | where | fields


def infographic(
    number: int, image: str, answers: list[str], split: str = "train"
) -> dict[str, Any]:
    where = {"image_url": "https://example.org/a.jpg", "ocr_output_file": "20471.json"}
    fields = {"question": f"Question {number}?", "answers": answers}
    return {"questionId": number, "image_local_name": image, "data_split": split} | where | fields


@pytest.mark.parametrize(
    ("layout", "record", "image"),
    [
        ("docvqa", page, "documents/ffbf0023_4.png"),
        ("infographicvqa", infographic, "20471.jpeg"),
    ],
)
def test_the_first_of_several_answers_is_used_and_other_splits_are_dropped(
    layout: str, record: Any, image: str, tmp_path: Path
) -> None:
    rows = [
        record(337, image, ["0.28", ".28"]),
        record(338, image, []),
        record(339, image, ["Yes"], "val"),
        record(340, image, ["1/8/93"]),
    ]
    wrapper = {"dataset_name": layout, "dataset_version": "1.0", "dataset_split": "train"}
    write(tmp_path / "train.json", wrapper | {"data": rows})
    [draft], rejected = read(tmp_path, source(layout, "train.json", image_prefix="p/"))
    assert (draft.upstream_id, *draft.images) == (image, f"p/{image}")
    assert [value for _, value in draft.turns] == [
        f"<image>\nQuestion 337?{SHORT}",
        "0.28",
        "Question 340?",
        "1/8/93",
    ]
    assert [(row.ordinal, row.upstream_id) for row in draft.rows] == [(0, "337"), (3, "340")]
    assert describe_rejections(rejected) == [
        (1, "338", "empty_value", {"field": "answer"}),
        (2, "339", "held_out_split", {"split": "val"}),
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from("abcd"), max_size=12), st.randoms(use_true_random=False))
def test_all_questions_on_an_image_are_joined_wherever_they_are(
    tmp_path: Path, images: list[str], chance: Any
) -> None:
    rows = [dvqa(f"{name}.png", f"{n}?", "x", n) for n, name in enumerate(images)]
    chance.shuffle(rows)
    write(tmp_path / "qa.json", rows)
    drafts, _ = read(tmp_path, source("dvqa", "qa.json"))
    expected: dict[str, list[int]] = {}
    for row in rows:
        expected.setdefault(row["image"], []).append(row["question_id"])
    found = {d.images[0]: [int(row.upstream_id or "") for row in d.rows] for d in drafts}
    assert list(found.items()) == list(expected.items())


# AI2D

AI2D = source(
    "ai2d", "ai2d/questions/*.json", image_prefix="ai2d/", held_out="ai2d_test_ids.csv"
)  # fmt: skip


def diagram(raw: Path, number: int, **questions: tuple[bool, list[str], int]) -> Path:
    """Write `questions/<number>.png.json` as AI2 publishes it, and an empty test split."""
    (raw / "ai2d_test_ids.csv").touch()
    words = ("abcLabel", "answerTexts", "correctAnswer")
    fields = {
        text: dict(zip(words, answers, strict=True)) | {"questionId": f"{number}.png-{n}"}
        for n, (text, answers) in enumerate(questions.items())
    }
    whole = {"imageName": f"{number}.png", "questions": fields}
    return write(raw / f"ai2d/questions/{number}.png.json", whole)


def test_a_diagram_gives_one_sample_with_texts_and_one_with_letters(tmp_path: Path) -> None:
    diagram(
        tmp_path,
        0,
        Who=(False, ["plant", "sun", "snake"], 2),
        A=(True, ["ears", "nose", "mouth", "face"], 3),
        Why=(False, ["heat", "cold"], 0),
    )
    plain, lettered = read(tmp_path, AI2D)[0]
    assert (*plain.images, plain.upstream_id, plain.subset) == (
        "ai2d/images/0.png",
        "images/0.png",
        "images",
    )
    assert [value for _, value in plain.turns] == [
        f"<image>\nWho\nA. plant\nB. sun\nC. snake{LETTER}",
        "C",
        "Why\nA. heat\nB. cold",
        "A",
    ]
    assert [(row.ordinal, row.upstream_id) for row in plain.rows] == [
        (0, "0.png-0"),
        (2, "0.png-2"),
    ]
    assert (*lettered.images, lettered.subset) == ("ai2d/abc_images/0.png", "abc_images")
    assert lettered.turns[0] == (
        "human",
        f"<image>\nA\nA. ears\nB. nose\nC. mouth\nD. face{LETTER}",
    )


@pytest.mark.parametrize(
    ("options", "right", "lines", "letter"),
    [
        (["{}", "sun", "snake"], 2, "A. sun\nB. snake", "B"),
        (["sun", "{}", "{}", "snake"], 0, "A. sun\nB. snake", "A"),
        (["sun", "sun", "snake"], 2, "A. sun\nB. sun\nC. snake", "C"),
    ],
)
def test_a_null_option_is_left_out_and_the_letters_have_no_gap(
    options: list[str], right: int, lines: str, letter: str, tmp_path: Path
) -> None:
    diagram(tmp_path, 4, Who=(False, options, right))
    [draft], _ = read(tmp_path, AI2D)
    assert draft.turns == [("human", f"<image>\nWho\n{lines}{LETTER}"), ("gpt", letter)]


@pytest.mark.parametrize(
    ("options", "right", "problem"),
    [
        (["sun", "snake", "sun"], 0, "the correct option is empty or stands twice"),
        (["sun", "{}"], 1, "the correct option is empty or stands twice"),
        (["sun", "snake"], 2, "the correct option is not among them"),
        (["sun", "snake"], -1, "the correct option is not among them"),
        ([], 0, "the correct option is not among them"),
    ],
)
def test_a_question_without_a_unique_right_option_is_dropped(
    options: list[str], right: int, problem: str, tmp_path: Path
) -> None:
    diagram(tmp_path, 4, Who=(False, options, right), Why=(False, ["heat", "cold"], 1))
    [draft], rejected = read(tmp_path, AI2D)
    assert draft.turns[0][1] == f"<image>\nWhy\nA. heat\nB. cold{LETTER}"
    evidence = {"problem": problem, "options": options, "correct": right}
    assert describe_rejections(rejected) == [(0, "4.png-0", "bad_options", evidence)]


def test_an_image_of_the_test_split_is_dropped(tmp_path: Path) -> None:
    for number in (1, 11, 2):
        diagram(tmp_path, number, Who=(False, ["sun", "snake"], 0))
    (tmp_path / "ai2d_test_ids.csv").write_text("1\r\n12\r\n")
    drafts, rejected = read(tmp_path, AI2D)
    assert [*(image for d in drafts for image in d.images)] == [
        "ai2d/images/11.png",
        "ai2d/images/2.png",
    ]
    assert describe_rejections(rejected) == [(0, "1.png-0", "held_out_split", {"split": "test"})]
    (tmp_path / "ai2d_test_ids.csv").write_text("2\n")
    assert [d.images[0] for d in read(tmp_path, AI2D)[0]] == [
        "ai2d/images/1.png",
        "ai2d/images/11.png",
    ]


def test_a_missing_list_of_test_images_is_an_error(tmp_path: Path) -> None:
    diagram(tmp_path, 1, Who=(False, ["sun", "snake"], 0))
    (tmp_path / "ai2d_test_ids.csv").unlink()
    with pytest.raises(UserError, match=r"ai2d_test_ids\.csv"):
        read(tmp_path, AI2D)


def test_a_damaged_diagram_is_one_row_and_a_repair_is_recorded(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        diagram(tmp_path, number, Who=(False, ["sun", "snake"], 0))
    questions = tmp_path / "ai2d/questions"
    (questions / "1.png.json").write_bytes(b'{"imageName": "1.png", "ques')
    mended = (questions / "2.png.json").read_text().replace("snake", "sn\nake")
    (questions / "2.png.json").write_text(mended)
    drafts, rejected = read(tmp_path, AI2D)
    assert [(r.row.ordinal, r.verdict.reason) for r in rejected] == [(0, "truncated")]
    assert [d.rows[0].ordinal for d in drafts] == [1, 2]
    assert [[m.repair for m in d.rows[0].repairs] for d in drafts] == [[Repair.RAW_CONTROL], []]


# LAION-GPT4V

PROMPTS = ("What is shown?", "Describe this.", "Tell me about it.")
LAION = source("laion_gpt4v", "*.parquet", image_prefix="laion/", prompts=PROMPTS)


def captions(file: Path, rows: list[tuple[str | None, str]]) -> None:
    """Write rows of (caption, message_id) as laion/gpt4v-dataset publishes them, without images."""
    fields = ("link", "caption", "message_id", "timestamp")
    values = [("https://e.org/a.jpg", caption, message, "2023") for caption, message in rows]
    columns = {name: pa.array([v[n] for v in values], pa.string()) for n, name in enumerate(fields)}
    pq.write_table(pa.table(columns | {"image": pa.nulls(len(rows))}), file)


def test_the_question_for_a_caption_is_chosen_by_its_id(tmp_path: Path) -> None:
    captions(tmp_path / "0.parquet", [(f" Caption {n}\n", f"m{n}") for n in range(40)])
    drafts, _ = read(tmp_path, LAION)
    assert [(d.upstream_id, *d.images, d.turns[1]) for d in drafts] == [
        (f"m{n}", f"laion/gpt_v{n}.jpg", ("gpt", f"Caption {n}")) for n in range(40)
    ]
    prompts = {d.upstream_id: d.turns[0][1] for d in drafts}
    assert set(prompts.values()) == {f"<image>\n{prompt}" for prompt in PROMPTS}
    captions(tmp_path / "0.parquet", [(f"Caption {n}", f"m{n}") for n in range(50, -1, -1)])
    moved = {d.upstream_id: d.turns[0][1] for d in read(tmp_path, LAION)[0]}
    assert {name: moved[name] for name in prompts} == prompts


@pytest.mark.parametrize(
    ("caption", "reason", "field"),
    [
        (None, "wrong_type", "caption"),
        ("  ", "empty_value", "answer"),
        ("An <image>", "token_repeated", "question or answer"),
    ],
)
def test_an_empty_caption_is_dropped(
    caption: str | None, reason: str, field: str, tmp_path: Path
) -> None:
    captions(tmp_path / "0.parquet", [("A cat", "m0"), (caption, "m1")])
    drafts, [rejected] = read(tmp_path, LAION)
    assert [d.upstream_id for d in drafts] == ["m0"]
    assert (rejected.row.ordinal, rejected.row.upstream_id) == (1, "m1")
    assert (rejected.verdict.reason, rejected.verdict.evidence["field"]) == (reason, field)


@pytest.mark.parametrize("damage", ["truncated", "garbled", "not parquet"])
def test_a_damaged_parquet_file_is_named_in_the_error(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "0.parquet"
    captions(file, [(f"Caption {n}", f"m{n}") for n in range(500)])
    data = file.read_bytes()
    if damage == "garbled":
        file.write_bytes(data[:4] + bytes(b ^ 0xA5 for b in data[4:2000]) + data[2000:])
    else:
        file.write_bytes(data[:-100] if damage == "truncated" else b"<html>")
    with pytest.raises(UserError) as error:
        read(tmp_path, LAION)
    assert error.value.where == str(file)


def test_missing_parquet_columns_are_named_in_the_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"caption": ["A cat"]}), tmp_path / "0.parquet")
    with pytest.raises(UserError, match="lacks the columns link, message_id"):
        read(tmp_path, LAION)


# All layouts


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_missing_record_file_is_named_in_the_error(layout: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, source(layout, "gone.json", prompts=PROMPTS))
    assert error.value.where == str(tmp_path / "gone.json")


def test_a_raw_newline_in_a_record_is_repaired_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps([BUS]).replace("White and", "White\nand"))
    [draft], _ = read(tmp_path, source("llava", "f.json"))
    assert draft.turns[1] == ("gpt", "White\nand red.")
    [repair] = draft.rows[0].repairs
    assert isinstance(repair, AppliedRepair) and repair.repair is Repair.RAW_CONTROL
    assert "White\nand red" in repair.before
