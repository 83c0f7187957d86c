"""The benchmarks' metrics, on cases computed by hand."""

import pytest

from imp_data.training.evaluation.metrics import (
    PopeMetrics,
    is_exact_match,
    is_pope_yes,
    mme_label,
    mme_scores,
    parse_choice,
    parse_option,
    pope_metrics,
    textvqa_score,
)
from imp_data.training.evaluation.vqa_normalization import normalize_answer


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("The Dakota Digital.", "dakota digital"),
        ("two", "2"),
        ("None", "0"),
        ("A red-and-blue sign", "red and blue sign"),
        # One mark next to a space is enough to remove all marks of its kind.
        ("red-blue - green", "redblue green"),
        ("$1,000", "$1000"),
        ("3.5", "3.5"),
        ("No. 7.", "no 7"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldn'tve", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("Peter's", "peter 's"),
        ("yes?\n", "yes"),
        ("", ""),
    ],
)
def test_answers_are_normalized(answer: str, left: str) -> None:
    assert normalize_answer(answer) == left


@pytest.mark.parametrize(
    ("said_by", "score"),
    [
        # Leaving out one of the n equal answers leaves n - 1; leaving out another leaves n.
        (0, 0.0),
        (1, 9 * (1 / 3) / 10),
        (2, (2 * (1 / 3) + 8 * (2 / 3)) / 10),
        (3, (3 * (2 / 3) + 7 * 1) / 10),
        (4, 1.0),
        (10, 1.0),
    ],
)
def test_textvqas_score_depends_on_the_number_of_equal_answers(said_by: int, score: float) -> None:
    people = ["Dakota."] * said_by + [f"other {n}" for n in range(10 - said_by)]
    assert textvqa_score("the dakota", people) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "says_yes"),
    [
        ("Yes", True),
        ("No", False),
        ("no, there is none", False),
        ("There is not a dog. Yes.", False),
        ("Yes. There is no doubt.", True),
        # As published: other capitalization, and words without a blank, do not count as "no".
        ("NO", True),
        ("nothing", True),
        ("", True),
    ],
)
def test_pope_reads_the_first_sentence(answer: str, says_yes: bool) -> None:
    assert is_pope_yes(answer) == says_yes


def test_popes_metrics() -> None:
    """Two right yes, one wrong yes, one right no, one wrong no."""
    found = pope_metrics(["Yes", "Yes", "Yes", "No", "No"], [True, True, False, False, True])
    assert found == PopeMetrics(
        accuracy=3 / 5, precision=2 / 3, recall=2 / 3, f1=pytest.approx(2 / 3), yes_share=3 / 5
    )
    assert pope_metrics(["No"], [True]) == PopeMetrics(0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("B. a magnet", "B"),
        ("It attracts iron. The answer is B.", "B"),
        ("The answer is B. The answer is C.", None),
        ("b", None),
        ("F", None),
        ("AB", None),
        ("", None),
        ("Because.", None),
    ],
)
def test_the_letter_of_an_option(answer: str, letter: str | None) -> None:
    assert parse_option(answer) == letter


def test_an_invalid_option_is_none() -> None:
    assert [parse_choice(letter, 2) for letter in ("A", "B", "C", "E", "?")] == [
        0,
        1,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        *(("Yes", "yes"), ("No.", "no"), ("yes, it is", "yes"), ("Not so", "no")),
        *(("I know", "other"), ("The answer is yes", "other"), ("", "other")),
    ],
)
def test_mme_reads_four_characters(answer: str, label: str) -> None:
    assert mme_label(answer) == label


def test_mmes_scores_reward_both_questions_right() -> None:
    """3 of 4 answers and 1 of 2 images: 75 + 50; perfect cognition: 200."""
    scores = mme_scores({"count": [(True, True), (True, False)], "code_reasoning": [(True, True)]})
    assert scores == {"count": 125, "code_reasoning": 200, "perception": 125, "cognition": 200}


def test_exact_match_ignores_case_and_a_final_period() -> None:
    assert is_exact_match(" Red. ", "red")
    assert not is_exact_match("dark red", "red")
    assert not is_exact_match("", "red")
