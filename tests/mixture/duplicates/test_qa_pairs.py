"""Questions and answers are normalised before they are compared."""

from typing import Any

import polars as pl
import pytest

from imp_data.mixture.duplicates.qa_pairs import normalised_answer, normalised_question


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<image>\nWhat colour is it?", "what  COLOUR is it"),
        (
            "What colour is it?\nAnswer the question using a single word or phrase.",
            "What colour is it?\n<image>",
        ),
        ("Is the sign ﬁxed ?", "is the sign fixed"),
        ("Où est-il ?", "OÙ EST-IL\u00a0?"),
    ],
)
def test_a_normalised_question_is_equal_in_every_spelling(one: str, other: str) -> None:
    assert len(set(texts(normalised_question, one, other))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("Yes.", "yes"), ("The dog", "a dog"), ("Two", "2"), ("10", "ten"), ("No !", "no")],
)
def test_a_normalised_answer_is_equal_in_every_spelling(one: str, other: str) -> None:
    assert len(set(texts(normalised_answer, one, other))) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("yes", "no"), ("3", "-3"), ("1.5", "15"), ("theatre", "atre"), ("a", "b")]
)
def test_answers_that_differ_stay_different(one: str, other: str) -> None:
    assert len(set(texts(normalised_answer, one, other))) == 2


def texts(normalised: Any, *values: str) -> list[str]:
    return pl.DataFrame({"text": values}).select(normalised(pl.col("text"))).to_series().to_list()
