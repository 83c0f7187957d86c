"""MMMU's numbered images, MMBench's lettered columns, and lists that a column holds as text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.ledger import Reason, Verdict
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.records.forms.list_text import read_list_text
from imp_data.sample import EmbeddedImage
from tests.records.forms.test_fields import checked


def image(number: int) -> EmbeddedImage:
    return EmbeddedImage(f"a.parquet/@image_{number}/0")


MMMU: dict[str, Any] = {
    "id": "validation_Art_1",
    "question": "Which of these is <image 1> like?",
    "options": "['<image 3>', '<image 2>', \"neither; it's new\"]",
    "explanation": "",
    "image_1": image(1),
    "image_2": image(2),
    "image_3": image(3),
    "image_4": None,
    "img_type": "['Paintings']",
    "answer": "B",
    "topic_difficulty": "Easy",
    "question_type": "multiple-choice",
    "subfield": "Drawing",
}


def read(record: dict[str, Any], form: str = "questions") -> Conversation | Verdict:
    return FORMS[form].read(dict(record), FormSettings(), 0)


def conversation(record: dict[str, Any], form: str = "questions") -> Conversation:
    found = read(record, form)
    assert isinstance(found, Conversation), found
    return found


def verdict(record: dict[str, Any], form: str = "questions") -> tuple[Reason, str]:
    found = read(record, form)
    assert isinstance(found, Verdict)
    return found.reason, found.evidence["field"]


def test_a_row_of_mmmu_has_its_images_in_the_order_of_its_tokens() -> None:
    found = conversation(MMMU)
    assert found.turns == [
        (
            "human",
            "Which of these is <image> like?\nA. <image>\nB. <image>\nC. neither; it's new",
        ),
        ("gpt", "B"),
    ]
    assert found.images == [image(1), image(3), image(2)]
    assert find_form([MMMU]) == "questions"
    assert not isinstance(checked("questions", MMMU), Verdict)


def test_an_image_that_two_tokens_name_is_shown_twice() -> None:
    record = {"question": "Is <image 1> <image 1>?", "answer": "Yes", "image_1": image(1)}
    assert conversation(record).images == [image(1), image(1)]


def test_an_open_question_of_mmmu_has_the_first_of_its_answers() -> None:
    record = {**MMMU, "question": "<image 1><image 2><image_3> How much?", "options": "[]"}
    for answer, said in (("8.4", "8.4"), ("['1/3', '0.33']", "1/3"), ("[0, 1", "[0, 1")):
        assert conversation({**record, "answer": answer}).turns == [
            ("human", "<image><image><image> How much?"),
            ("gpt", said),
        ]


def test_an_answer_that_looks_like_a_list_stays_where_there_are_no_options() -> None:
    record = {"question": "What does it print?", "answer": "['a', 'b']"}
    assert conversation(record).turns[1] == ("gpt", "['a', 'b']")


def test_a_number_is_the_place_in_a_list_of_images() -> None:
    record = {"question": "<image2> or <image1>?", "answer": "x", "images": ["a.jpg", "b.jpg"]}
    found = conversation(record)
    assert found.images == ["b.jpg", "a.jpg"]
    assert found.turns[0] == ("human", "<image> or <image>?")


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"image_3": None}, Reason.TOKEN_WITHOUT_IMAGE, "question"),
        ({"question": "<image 9>?"}, Reason.TOKEN_WITHOUT_IMAGE, "question"),
        ({"image_4": image(4)}, Reason.UNREAD_FIELD, "image_4"),
        ({"image_2": 17}, Reason.WRONG_TYPE, "image_2"),
        ({"options": "['a' 'b']"}, Reason.WRONG_TYPE, "options"),
        ({"options": "['a', 'b'"}, Reason.WRONG_TYPE, "options"),
        ({"answer": "D"}, Reason.BAD_OPTIONS, "options"),
    ],
)
def test_a_verdict_names_the_field(changed: dict[str, Any], reason: Reason, field: str) -> None:
    assert verdict({**MMMU, **changed}) == (reason, field)


MMBENCH: dict[str, Any] = {
    "index": 241,
    "question": "What is shown?",
    "hint": "nan",
    "answer": "A",
    "A": "C",
    "B": "A",
    "C": "nan",
    "D": 7,
    "category": "object",
    "l2-category": "perception",
    "image": EmbeddedImage("a.parquet/@image/0"),
    "source": "coco",
    "comment": "nan",
    "split": "dev",
}


def test_a_row_of_mmbench_has_a_column_for_each_option() -> None:
    found = conversation(MMBENCH)
    assert found.upstream_id == "241"
    assert found.turns == [
        ("human", "<image>\nWhat is shown?\nA. C\nB. A\nC. 7"),
        ("gpt", "A"),
    ]
    assert conversation({**MMBENCH, "answer": "D"}).turns[1] == ("gpt", "C")
    hinted = conversation({**MMBENCH, "hint": "A pond."}).turns[0][1]
    assert hinted.startswith("<image>\nContext: A pond.\nWhat is shown?")
    assert not isinstance(checked("questions", MMBENCH), Verdict)


@pytest.mark.parametrize("names", ["choice_a choice_b", "option_A option_B", "A B"])
def test_columns_of_options_have_one_of_the_common_names(names: str) -> None:
    options = dict(zip(names.split(), ("an owl", "a crow"), strict=True))
    record = {"question": "Which?", **options, "answer": "a crow"}
    assert conversation(record).turns == [("human", "Which?\nA. an owl\nB. a crow"), ("gpt", "B")]


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"answer": "C"}, Reason.BAD_OPTIONS, "A"),
        ({"answer": "E"}, Reason.BAD_OPTIONS, "A"),
        ({"answer": None}, Reason.WRONG_TYPE, "answer"),
        ({"B": ["x"]}, Reason.WRONG_TYPE, "B"),
    ],
)
def test_a_verdict_names_the_column(changed: dict[str, Any], reason: Reason, field: str) -> None:
    assert verdict({**MMBENCH, **changed}) == (reason, field)


TURNS = [
    {"from": "human", "value": '<image>\nIt\'s "what"?'},
    {"from": "gpt", "value": "An\nowl \\d."},
]


@pytest.mark.parametrize("written", [json.dumps, str])
@pytest.mark.parametrize("column", ["conversations", "messages"])
def test_turns_may_be_the_text_of_a_list(column: str, written: Any) -> None:
    record = {column: written(TURNS), "image": "a.jpg"}
    assert find_form([record]) == column
    found = conversation(record, column)
    assert found.turns == [("human", '<image>\nIt\'s "what"?'), ("gpt", "An\nowl \\d.")]


def test_a_field_of_turns_in_text_drops_the_record_as_in_a_list() -> None:
    record = {"conversations": json.dumps([{**TURNS[0], "video": "a.mp4"}, TURNS[1]])}
    assert isinstance(FORMS["conversations"].read(record, FormSettings(), 0), Conversation)
    found = checked("conversations", record)
    assert isinstance(found, Verdict)
    assert found.evidence["field"] == "conversations.video"


@pytest.mark.parametrize("text", ["[", "[{]", "{}", '"x"', "[" * 200_000, "[__import__('os')]"])
def test_text_that_is_no_list_of_turns_is_a_verdict(text: str) -> None:
    assert verdict({"conversations": text}, "conversations") == (Reason.WRONG_TYPE, "conversations")


@given(st.lists(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), max_size=5))
def test_a_list_of_any_texts_survives_as_text(values: list[Any]) -> None:
    assert read_list_text(str(values)) == values
    assert read_list_text(json.dumps(values)) == values


@given(st.text(st.sampled_from("[]'\", {}:ab\\\n1#("), max_size=30))
def test_any_text_is_a_list_or_stays_as_it_is(text: str) -> None:
    found = read_list_text(text)
    assert found == text or isinstance(found, list)
