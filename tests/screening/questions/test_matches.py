"""Which records have a benchmark's question: specific ones alone, generic ones with more."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.sample import TURN_TYPE
from imp_data.screening.decontamination.questions import matcher
from imp_data.screening.decontamination.questions.matcher import find_questions
from imp_data.screening.decontamination.questions.matches import (
    QuestionMatch,
    QuestionMatches,
    QuestionTally,
    Rule,
)
from imp_data.screening.decontamination.questions.question_files import BenchmarkQuestion
from imp_data.screening.decontamination.questions.question_index import build_index
from imp_data.screening.decontamination.questions.question_pack import build_question_pack

SPECIFIC = "What is the price difference between diesel and regular gasoline?"
LONG = (
    "A farmer owns seventeen sheep, all but nine of them run away through a broken fence at "
    "midnight; how many sheep are left on his farm the next morning?"
)
LETTER = "\nAnswer with the option's letter from the given choices directly."
STORY = (
    "Because every winter the old lighthouse keeper carries nine heavy lanterns up the spiral "
    "stairs before the first storm arrives."
)
QUIZ = [
    BenchmarkQuestion("q1", "gas", SPECIFIC, (), ("ten cents",)),
    BenchmarkQuestion("q2", "farm", LONG, (), ("9",)),
    BenchmarkQuestion("q3", "car", "What color is the car?", (), ("red",)),
    BenchmarkQuestion("q4", "car", "What brand is it?", (), ("Lagonda Rapide Shooting Brake",)),
    BenchmarkQuestion("q5", "zoo", "Which is it?", ("okapi", "tapir", "dugong", "quokka"), ("B",)),
    BenchmarkQuestion("q6", "sea", "Why?", (), (STORY,)),
]
FREQUENT = "Which extinct marsupial carnivore species does this photograph show?"
QUIZ += [BenchmarkQuestion(f"f{n}", f"i{n}", FREQUENT, (), ("thylacine",)) for n in range(4)]
OTHER = [BenchmarkQuestion("o1", "gas", SPECIFIC.upper(), (), ())]
PACKS = [build_question_pack("quiz", QUIZ), build_question_pack("other", OTHER)]
INDEX = build_index(PACKS)

Turns = Sequence[str]


def array(conversations: Sequence[Turns]) -> pa.Array:
    sides = ("human", "gpt")
    rows = [
        [{"from": sides[n % 2], "value": text} for n, text in enumerate(turns)]
        for turns in conversations
    ]
    return pa.array(rows, pa.list_(TURN_TYPE))


def tallied(conversations: Sequence[Turns], images: Sequence[int] | None = None) -> QuestionMatches:
    tally = QuestionTally(INDEX)
    keys = np.array(images or range(len(conversations)), np.uint64)
    tally.add(find_questions(array(conversations), INDEX), 0, keys)
    return tally.matches()


def matched(*turns: str) -> QuestionMatch | None:
    return tallied([turns]).of_row(0).get("quiz")


def test_a_specific_question_is_found_in_any_wording_and_any_turn() -> None:
    found = QuestionMatch("quiz", "q1", Rule.QUESTION)
    assert matched(f"<image>\n{SPECIFIC}\nBe succinct.", "12") == found
    assert matched("Hi", "Hello", f"Question: {SPECIFIC.lower()} Answer:", "12") == found


def test_each_benchmark_with_the_question_is_named() -> None:
    found = tallied([(SPECIFIC, "12"), ("What is it?", "A dog.")])
    assert {name: match.id for name, match in found.of_row(0).items()} == {
        "quiz": "q1",
        "other": "o1",
    }
    assert found.of_row(1) == {}
    assert found.rows.tolist() == [0]


def test_a_question_with_its_answer_is_told_from_the_question_alone() -> None:
    found = matched(SPECIFIC, "Ten cents.")
    assert found == QuestionMatch("quiz", "q1", Rule.ANSWER)
    assert found.has_answer


def test_a_generic_question_is_none_of_a_benchmark_not_even_with_a_common_answer() -> None:
    assert matched("What color is the car?", "Red") is None
    assert matched("What brand is it?", "Toyota") is None


def test_a_generic_question_with_a_rare_answer_is() -> None:
    found = matched("What brand is it?", "Lagonda Rapide shooting brake.")
    assert found == QuestionMatch("quiz", "q4", Rule.ANSWER)


def test_a_generic_question_counts_beside_its_own_image() -> None:
    found = tallied([("What color is the car?", "Blue")])
    generic = QuestionMatch("quiz", "q3", Rule.QUESTION, generic=True)
    assert found.about_image(0, "quiz", "car") == generic
    assert found.about_image(0, "quiz", "zoo") is None
    assert found.about_image(0, "other", "car") is None


def test_a_generic_question_counts_with_all_its_options_in_any_order() -> None:
    options = "\nA. quokka\nB. dugong\nC. okapi\nD. tapir"
    found = matched(f"Which is it?{options}{LETTER}", "A")
    assert found == QuestionMatch("quiz", "q5", Rule.OPTIONS)
    assert matched(f"Which is it?{options}{LETTER}", "D") == found._replace(rule=Rule.ANSWER)
    assert matched(f"Which is it?{options.replace('okapi', 'cat')}{LETTER}", "A") is None


def test_a_question_about_many_images_is_frequent_and_needs_a_rare_answer() -> None:
    assert matched(FREQUENT, "A wolf") is None
    assert matched(FREQUENT, "thylacine") is None  # FREQUENT_BITS and 12 of one word


@pytest.mark.parametrize(("images", "found"), [([1, 2, 3, 3], True), ([1, 2, 3, 4], False)])
def test_a_question_about_many_images_of_the_source_is_frequent(
    images: list[int], found: bool
) -> None:
    matches = tallied([(SPECIFIC, "12")] * 4, images)
    assert (matches.of_row(0) != {}) is found


def test_half_of_the_ngrams_of_a_long_question_are_enough() -> None:
    words = LONG.split()
    assert matched(f"Here: {LONG}", "9") == QuestionMatch("quiz", "q2", Rule.LONG_QUESTION)
    half = matched(" ".join(words[:21]), "9")
    assert half is not None
    assert (half.id, half.rule) == ("q2", Rule.LONG_QUESTION)
    assert half.share == pytest.approx(9 / 17)
    assert matched(" ".join(words[:20]), "9") is None  # 8 of 17


def test_a_long_answer_is_found_wherever_it_stands() -> None:
    found = tallied([("Say more.", f"Well. {STORY} And so on.")]).of_row(0)["quiz"]
    assert (found.id, found.rule) == ("q6", Rule.LONG_ANSWER)


def test_a_batch_in_pieces_has_the_same_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [(SPECIFIC, "Ten cents."), ("No.", "Yes."), (LONG, "9"), (FREQUENT, "x")] * 3
    whole = find_questions(array(turns), INDEX)
    monkeypatch.setattr(matcher, "_PIECE_BYTES", 100)
    pieces = find_questions(array(turns), INDEX)
    for some, others in zip(whole, pieces, strict=True):
        rows, same = (
            sorted(zip(*map(np.ndarray.tolist, one), strict=True)) for one in (some, others)
        )
        assert rows == same != []


def test_a_batch_without_conversations_has_nothing() -> None:
    for turns in ([], [()], [(), (SPECIFIC,), ()]):
        assert tallied(turns).rows.tolist() == ([1] if len(turns) > 1 else [])


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=4))
def test_no_text_is_an_error_or_changes_the_matches_of_its_neighbours(
    others: list[tuple[str, str]],
) -> None:
    found = tallied([*others, (SPECIFIC, "Ten cents.")])
    assert found.of_row(len(others))["quiz"].rule == Rule.ANSWER


def test_evidence_names_the_item_the_rule_and_the_share() -> None:
    match = QuestionMatch("quiz", "q2", Rule.LONG_QUESTION, 0.6666)
    assert match.evidence() == {"id": "q2", "rule": "long_question", "share": 0.667}
    generic = QuestionMatch("quiz", "q3", Rule.QUESTION, generic=True)
    assert generic.evidence() == {"id": "q3", "rule": "question", "generic": True}
