"""The form `texts` on literal rows of the_cauldron and FineVision, and the wordings of both."""

from typing import Any

import pytest

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.base import Conversation, FormSettings
from imp_data.sample import EmbeddedImage

PIXELS = EmbeddedImage("train-00000-of-00001.parquet/images/0/0")
SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."

CHART = {
    "images": [PIXELS],
    "texts": [
        {
            "user": "How many food item is shown in the bar graph?\nKeep it brief.",
            "assistant": "14.",
            "source": "ChartQA",
        },
        {
            "user": "Is the largest bar greater than the sum of the two smallest?\nBe succinct.",
            "assistant": "Yes.",
            "source": "ChartQA",
        },
    ],
}
FINE = {
    "images": [PIXELS],
    "texts": [
        {"user": "What is it?", "assistant": "An owl."},
        {"user": "Who are you?", "assistant": "A model."},
        {"user": "Where is it?", "assistant": "On a barn."},
    ],
    "source": "vision_flan(filtered)",
    "relevance_ratings": [5, 1, None],
    "relevance_min": 1,
    "image_correspondence_ratings": [4, 2, 3],
    "image_correspondence_min": 2,
    "visual_dependency_ratings": [2, 1, 5],
    "visual_dependency_min": 1,
    "formatting_ratings": [None, None, None],
    "formatting_min": None,
}


def read(record: dict[str, Any], **settings: Any) -> Conversation | Verdict:
    return FORMS["texts"].read(record, FormSettings(**settings), 0)


def test_a_row_of_the_cauldron_keeps_its_own_wording() -> None:
    assert read(CHART) == Conversation(
        None,
        [PIXELS],
        [
            ("human", "<image>\nHow many food item is shown in the bar graph?\nKeep it brief."),
            ("gpt", "14."),
            (
                "human",
                "Is the largest bar greater than the sum of the two smallest?\nBe succinct.",
            ),
            ("gpt", "Yes."),
        ],
    )


def test_a_row_of_the_cauldron_may_have_llavas_wording() -> None:
    sums = "Is the largest bar greater than the sum of the two smallest?"
    assert read(CHART, wording="llava") == Conversation(
        None,
        [PIXELS],
        [
            ("human", f"<image>\nHow many food item is shown in the bar graph?{SHORT}"),
            *(("gpt", "14"), ("human", sums), ("gpt", "Yes")),
        ],
        repairs=(
            AppliedRepair(
                Repair.WORDING_REPLACED,
                "How many food item is shown in the bar graph?\nKeep it brief.",
            ),
            AppliedRepair(Repair.ANSWER_TRIMMED, "14."),
        ),
    )


# huggingface/smollm, a0417598, build_ds_sft.py
BREVITY_PHRASES = (
    "Give a very brief answer.",
    "Answer briefly.",
    "Write a very short answer.",
    "Quick response, please.",
    "Short answer required.",
    "Keep it brief.",
    "Concise answer only.",
    "Be succinct.",
    "Make the answer very short.",
    "Your answer should be very brief.",
    "Offer a terse response.",
    "Provide a succinct answer.",
    "Keep it short and to the point.",
    "Ensure brevity in your answer. ",
    "Offer a very short reply.",
    "Your response must be concise.",
    "Your answer should be compact.",
    "Provide a short and direct response.",
    "Answer yes or no.",
)


@pytest.mark.parametrize("phrase", BREVITY_PHRASES)
def test_each_brevity_phrase_becomes_llavas_suffix(phrase: str) -> None:
    record = {"texts": [{"user": f"Is it red?\n{phrase}", "assistant": "Yes."}]}
    plain = read(record)
    assert isinstance(plain, Conversation)
    assert plain.turns == [("human", f"Is it red?\n{phrase}"), ("gpt", "Yes.")]
    found = read(record, wording="llava")
    assert isinstance(found, Conversation)
    assert found.turns == [("human", f"Is it red?{SHORT}"), ("gpt", "Yes")]


def test_a_question_with_letters_gets_llavas_suffix_for_options() -> None:
    choices = "\nA. Owl\nB. Crow"
    asked = f"Question: Which is it?\nChoices:{choices}\nAnswer with the letter."
    found = read({"texts": [{"user": asked, "assistant": "Answer: B"}]}, wording="llava")
    assert isinstance(found, Conversation)
    assert found.turns == [("human", f"Which is it?{choices}{LETTER}"), ("gpt", "B")]


@pytest.mark.parametrize(
    ("answer", "trimmed"),
    [
        ("U.S.", "U.S"),
        ("3.5.", "3.5"),
        ("New york.", "New york"),
        ("Wait...", "Wait..."),
        (".", "."),
    ],
)
def test_what_is_lost_with_the_wording(answer: str, trimmed: str) -> None:
    record = {"texts": [{"user": "Which?\nAnswer briefly.", "assistant": answer}]}
    found = read(record, wording="llava")
    assert isinstance(found, Conversation)
    assert found.turns[1] == ("gpt", trimmed)


def test_other_questions_and_their_answers_keep_their_wording() -> None:
    record = {"texts": [{"user": "Answer briefly. Which?", "assistant": "That."}]}
    turns = [("human", "Answer briefly. Which?"), ("gpt", "That.")]
    assert read(record, wording="llava") == Conversation(None, [], turns)


@pytest.mark.parametrize(
    ("minima", "kept"),
    [
        ({}, [0, 1, 2]),
        ({"relevance": 3}, [0, 2]),
        ({"relevance": 3, "image_correspondence": 4}, [0]),
        ({"visual_dependency": 3}, [2]),
        ({"formatting": 5}, [0, 1, 2]),
        ({"relevance_ratings": 3}, [0, 2]),
    ],
)
def test_a_turn_of_finevision_stays_if_its_rating_is_null_or_high_enough(
    minima: dict[str, int], kept: list[int]
) -> None:
    found = read(FINE, min_ratings=minima)
    assert isinstance(found, Conversation)
    answers = [turn["assistant"] for n, turn in enumerate(FINE["texts"]) if n in kept]
    assert [text for speaker, text in found.turns if speaker == "gpt"] == answers
    assert found.dropped_turns == 3 - len(kept)
    assert found.turns[0][1].startswith("<image>\n")


def test_a_row_of_finevision_without_a_turn_left_is_dropped() -> None:
    verdict = read(FINE, min_ratings={"visual_dependency": 6})
    evidence = {"field": "min_ratings", "min_ratings": {"visual_dependency": 6}, "turns": 3}
    assert verdict == Verdict(Reason.LOW_RATING, evidence)


def test_ratings_that_are_null_keep_each_turn() -> None:
    found = read({**FINE, "relevance_ratings": None}, min_ratings={"relevance": 5})
    assert isinstance(found, Conversation)
    assert found.dropped_turns == 0


def test_the_subset_is_the_column_that_the_manifest_names() -> None:
    columns = {"subset": "source"}
    for record, subset in ((CHART, "ChartQA"), (FINE, "vision_flan(filtered)")):
        found = read(record, columns=columns)
        assert isinstance(found, Conversation)
        assert found.subset == subset


def test_several_images_stand_before_the_first_question() -> None:
    record = {"images": [PIXELS, PIXELS], "texts": [{"user": "Same?", "assistant": "Yes."}]}
    turns = [("human", "<image>\n<image>\nSame?"), ("gpt", "Yes.")]
    assert read(record) == Conversation(None, [PIXELS, PIXELS], turns)


def test_rows_of_this_form_are_recognised() -> None:
    assert find_form([CHART, FINE]) == "texts"


@pytest.mark.parametrize(
    ("changed", "field", "problem"),
    [
        ({"texts": None}, "texts", "is null"),
        ({"texts": "What?"}, "texts", "should be a list"),
        ({"texts": ["What?"]}, "texts.0", "should be an object"),
        ({"texts": [{"user": "What?"}]}, "texts.0.assistant", "is null"),
        ({"texts": [{"user": 3, "assistant": "x"}]}, "texts.0.user", "should be text"),
        (
            {"relevance_ratings": [1, 2]},
            "relevance_ratings",
            "should be a list of 3 ratings, one per turn",
        ),
        ({"relevance_ratings": [5, "x", 5]}, "relevance_ratings.1", "should be a number or null"),
        ({"images": [None]}, "images.0", "is an image that is null"),
    ],
)
def test_a_verdict_names_the_field_and_the_problem(
    changed: dict[str, Any], field: str, problem: str
) -> None:
    verdict = read({**FINE, **changed}, min_ratings={"relevance": 3})
    assert isinstance(verdict, Verdict)
    assert verdict.reason is Reason.WRONG_TYPE
    assert (verdict.evidence["field"], verdict.evidence["problem"]) == (field, problem)


def test_a_rating_that_the_source_does_not_have_is_no_silent_pass() -> None:
    verdict = read(CHART, min_ratings={"relevence": 3})
    assert isinstance(verdict, Verdict)
    assert verdict.evidence["field"] == "relevence_ratings"
    assert verdict.evidence["problem"] == "is missing, and min_ratings asks for it"
