"""Copies of questions that are worded otherwise: which are found, and which are not."""

import numpy as np
import pyarrow as pa
import pytest

from imp_data.sample import TURN_TYPE
from imp_data.screening.decontamination.questions.matcher import find_questions
from imp_data.screening.decontamination.questions.matches import QuestionTally
from imp_data.screening.decontamination.questions.question_files import BenchmarkQuestion
from imp_data.screening.decontamination.questions.question_index import build_index
from imp_data.screening.decontamination.questions.question_pack import build_question_pack
from imp_data.screening.decontamination.questions.rewordings import (
    REWORDINGS,
    ask_with_options,
    move_phrase,
    replace_word,
)

SHORT = "Which extinct marsupial carnivore is shown in the diorama?"
LONG = (
    "A farmer owns seventeen sheep, all but nine of them run away through a broken fence at "
    "midnight; how many sheep are left on his farm the next morning?"
)
ANIMALS = ("okapi", "tapir", "dugong", "quokka")


def is_found(question: BenchmarkQuestion, copy: str) -> bool:
    index = build_index([build_question_pack("quiz", [question])])
    turns = [{"from": "human", "value": copy}, {"from": "gpt", "value": "It cannot be told."}]
    tally = QuestionTally(index)
    found = find_questions(pa.array([turns], pa.list_(TURN_TYPE)), index)
    tally.add(found, 0, np.zeros(1, np.uint64))
    return len(tally.matches().rows) == 1


@pytest.mark.parametrize(
    ("question", "missed"),
    [(SHORT, {"one word replaced", "phrase moved", "within a longer turn"}), (LONG, set())],
    ids=["short", "long"],
)
def test_short_questions_are_found_in_other_wordings_but_not_in_other_words(
    question: str, missed: set[str]
) -> None:
    copies = {name: alter(question) for name, alter in REWORDINGS.items()}
    asked = BenchmarkQuestion("1", "", question, (), ())
    found = {name: is_found(asked, copy) for name, copy in copies.items() if copy is not None}
    assert {name for name, one in found.items() if not one} == missed


def test_a_word_replaced_in_the_middle_of_a_long_question_hides_most_ngrams() -> None:
    words = LONG.split()
    asked = BenchmarkQuestion("1", "", LONG, (), ())
    assert is_found(asked, " ".join([*words[:3], "goats,", *words[4:]]))
    assert not is_found(asked, " ".join([*words[:14], "open", *words[15:]]))


@pytest.mark.parametrize("style", [0, 1, 2, 3])
def test_options_are_found_in_any_order_and_labelling(style: int) -> None:
    asked = BenchmarkQuestion("1", "", "Which is it?", ANIMALS, ("tapir",))
    assert is_found(asked, ask_with_options("Which is it?", ANIMALS[::-1], style))
    others = (*ANIMALS[:3], "zebra")
    assert not is_found(asked, ask_with_options("Which is it?", others, style))


def test_a_rewording_that_does_not_apply_gives_none() -> None:
    assert replace_word("Is it?") is None
    assert replace_word("Is the picture big?") == "Is the picture large?"
    assert move_phrase("Is it?") is None
    assert move_phrase("What is on the bus?") == "on the bus, What is?"
