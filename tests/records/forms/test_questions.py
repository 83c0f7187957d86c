"""The form `questions` on literal rows of DocVQA, InfographicVQA, ChartQA and others."""

from typing import Any

import pytest

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.sample import EmbeddedImage

PIXELS = EmbeddedImage("train-00000-of-00012.parquet/image/0")
SHORT = "\nAnswer the question using a single word or phrase."


def read(record: dict[str, Any], **settings: Any) -> Conversation | Verdict:
    return FORMS["questions"].read(record, FormSettings(**settings), 0)


def qa(question: str, answer: str) -> list[tuple[str, str]]:
    return [("human", f"<image>\n{question}"), ("gpt", answer)]


DOCVQA = {
    "questionId": "337",
    "question": "what is the date mentioned in this letter?",
    "question_types": ["handwritten", "form"],
    "image": PIXELS,
    "docId": 279,
    "ucsf_document_id": "xnbl0037",
    "ucsf_document_page_no": "1",
    "answers": ["1/8/93", "1/8/1993"],
    "data_split": "train",
}
INFOGRAPHIC = {
    "questionId": "65718",
    "question": "Which social platform has heavy female audience?",
    "answers": ["pinterest"],
    "answer_type": ["single span"],
    "image": PIXELS,
    "operation/reasoning": [],
    "ocr": '{"PAGE": []}',
    "data_split": "train",
}
CHARTQA = {
    "image": PIXELS,
    "query": "Is the value of Favorable 38 in 2015?",
    "label": ["Yes"],
    "human_or_machine": 0,
}


@pytest.mark.parametrize(
    ("row", "identity", "question", "answer"),
    [
        (DOCVQA, "337", "what is the date mentioned in this letter?", "1/8/93"),
        (INFOGRAPHIC, "65718", "Which social platform has heavy female audience?", "pinterest"),
        (CHARTQA, None, "Is the value of Favorable 38 in 2015?", "Yes"),
    ],
)
def test_a_row_is_a_question_on_its_image_with_the_first_answer(
    row: dict[str, Any], identity: str | None, question: str, answer: str
) -> None:
    assert find_form([row]) == "questions"
    assert read(row) == Conversation(identity, [PIXELS], qa(question, answer))
    found = read(row, suffix="short_answer")
    assert found == Conversation(identity, [PIXELS], qa(f"{question}{SHORT}", answer))


def test_a_row_of_another_split_is_held_out() -> None:
    evidence = {"field": "data_split", "split": "val"}
    assert read({**DOCVQA, "data_split": "val"}) == Verdict(Reason.HELD_OUT_SPLIT, evidence)


def test_vqav2_states_the_most_common_of_its_answers() -> None:
    row = {
        "question": "What is in the air?",
        "multiple_choice_answer": "kite",
        "answers": [{"answer": "a kite", "answer_confidence": "yes", "answer_id": 1}],
        "question_type": "what is",
        "answer_type": "other",
        "image_id": 9,
        "question_id": 9001,
        "image": PIXELS,
    }
    assert read(row) == Conversation("9001", [PIXELS], qa("What is in the air?", "kite"))
    del row["multiple_choice_answer"]
    assert read(row) == Conversation("9001", [PIXELS], qa("What is in the air?", "a kite"))


def test_scienceqa_has_a_hint_choices_and_an_index() -> None:
    row = {
        "image": None,
        "question": "Which is the largest?",
        "choices": ["a pebble", "a hill", "a mountain"],
        "answer": 2,
        "hint": "Look at the sizes.",
        "grade": "grade2",
    }
    lines = "A. a pebble\nB. a hill\nC. a mountain"
    asked = f"Context: Look at the sizes.\nWhich is the largest?\n{lines}"
    assert read(row) == Conversation(None, [], [("human", asked), ("gpt", "C")])


def test_a_okvqa_has_choices_and_an_index_of_its_own_name() -> None:
    row = {
        "image": PIXELS,
        "question_id": "22MexNkBPpdZGX6sxbxVBH",
        "question": "What is the man by the bags awaiting?",
        "choices": ["skateboarder", "train", "delivery", "cab"],
        "correct_choice_idx": 3,
        "direct_answers": "['ride', 'ride', 'bus']",
        "difficult_direct_answer": False,
    }
    asked = "What is the man by the bags awaiting?\nA. skateboarder\nB. train\nC. delivery\nD. cab"
    assert read(row) == Conversation("22MexNkBPpdZGX6sxbxVBH", [PIXELS], qa(asked, "D"))


LINES = "A. owl\nB. crow\nC. wren"


@pytest.mark.parametrize("answer", [1, "1", "B", "b", "(B)", "B.", "crow", " crow ", "B. crow"])
@pytest.mark.parametrize(
    "options",
    [
        ["owl", "crow", "wren"],
        [" owl", "crow ", "wren"],
        ["A. owl", "B. crow", "C. wren"],
        ["(A) owl", "(B) crow", "(C) wren"],
        {"A": "owl", "B": "crow", "C": "wren"},
        {"text": ["owl", "crow", "wren"], "label": ["A", "B", "C"]},
    ],
)
def test_the_correct_option_is_a_text_a_letter_or_an_index(options: Any, answer: Any) -> None:
    row = {"question": "Which?", "options": options, "answer": answer}
    turns = [("human", f"Which?\n{LINES}"), ("gpt", "B")]
    assert read(row) == Conversation(None, [], turns)


def test_a_text_counts_before_a_letter_and_a_letter_before_an_index() -> None:
    for answer, letter in (("3", "A"), ("1", "B"), ("C", "C"), ("2", "C")):
        row = {"question": "How many?", "options": ["3", "1", "7"], "answer": answer}
        found = read(row)
        assert isinstance(found, Conversation)
        assert found.turns[1] == ("gpt", letter)


def test_an_empty_option_is_left_out_and_later_ones_move_up() -> None:
    row = {"question": "Which?", "options": ["owl", None, "wren", ""], "answer": "C"}
    turns = [("human", "Which?\nA. owl\nB. wren"), ("gpt", "B")]
    assert read(row) == Conversation(None, [], turns)


def test_an_answer_that_is_a_number_is_read_as_text() -> None:
    repairs = (AppliedRepair(Repair.NUMBER_TO_TEXT, "14"),)
    turns = [("human", "How many?"), ("gpt", "14")]
    expected = Conversation(None, [], turns, repairs=repairs)
    assert read({"question": "How many?", "answer": 14}) == expected


def test_columns_of_other_names_are_read_where_the_manifest_states_them() -> None:
    row = {"ask": "Which?", "right": 1, "birds": ["owl", "crow", "wren"], "photo": PIXELS}
    columns = {"question": "ask", "answer": "right", "options": "birds", "image": "photo"}
    assert read(row, columns=columns) == Conversation(None, [PIXELS], qa(f"Which?\n{LINES}", "B"))


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"question": None}, Reason.WRONG_TYPE, "question"),
        ({"question": ["What?"]}, Reason.WRONG_TYPE, "question"),
        ({"question": " \u200b"}, Reason.EMPTY_VALUE, "question"),
        ({"query": "Which?"}, Reason.UNREAD_FIELD, "query"),
        ({"answers": []}, Reason.EMPTY_VALUE, "answers"),
        ({"answers": [""]}, Reason.EMPTY_VALUE, "answers"),
        ({"answers": [None]}, Reason.WRONG_TYPE, "answers"),
        ({"answers": None}, Reason.WRONG_TYPE, "answers"),
        ({"answers": {"text": "x"}}, Reason.WRONG_TYPE, "answers"),
        ({"answer": True}, Reason.WRONG_TYPE, "answer"),
        ({"label": 3}, Reason.WRONG_TYPE, "label"),
        ({"image": 17}, Reason.WRONG_TYPE, "image"),
        ({"hint": 3}, Reason.WRONG_TYPE, "hint"),
        ({"options": "A or B"}, Reason.WRONG_TYPE, "options"),
        ({"options": [["x"]]}, Reason.WRONG_TYPE, "options.0"),
        ({"options": ["a", "b"], "answer": "c."}, Reason.BAD_OPTIONS, "options"),
        ({"options": ["a", "b"], "answer": 2}, Reason.BAD_OPTIONS, "options"),
        ({"options": ["a", "b"], "answer": -1}, Reason.BAD_OPTIONS, "options"),
        ({"options": ["a", "a"], "answer": 0}, Reason.BAD_OPTIONS, "options"),
        ({"options": ["a", ""], "answer": 1}, Reason.BAD_OPTIONS, "options"),
        ({"options": [str(n) for n in range(27)], "answer": 0}, Reason.BAD_OPTIONS, "options"),
    ],
)
def test_a_verdict_names_the_field(changed: dict[str, Any], reason: Reason, field: str) -> None:
    verdict = read({**DOCVQA, **changed})
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, verdict.evidence["field"]) == (reason, field)
