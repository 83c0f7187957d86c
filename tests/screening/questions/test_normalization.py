"""Questions are compared as words, without the wording that datasets put around them."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.screening.decontamination.questions.normalization import (
    INSTRUCTIONS,
    is_wrapped,
    normalized,
    plain_texts,
    read_answer,
    read_question,
    words_of,
)


def plain(text: str) -> str:
    [found] = plain_texts(pa.array([text], pa.large_string())).to_pylist()
    return str(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What COLOR is the car?", "what color is the car"),
        ("Ｗhat ﬁsh — “is” this?!", "what fish is this"),
        ("Is it 1,234,567.5 km, or 12,34?", "is it 1234567.5 km or 12 34"),
        ("Two dogs and twelve cats", "2 dogs and 12 cats"),
        ("Is C++ 50% of $3?", "is c++ 50% of $3"),
        ("图中有什么？", "图 中 有 什 么"),
        ("Ist das ein Café?", "ist das ein café"),
        ("<image>\nWhat is it?", "what is it"),
        ("What is it? <image_1> <|image|> [img]", "what is it"),
        ("", ""),
    ],
)
def test_words_are_lower_case_without_punctuation_and_image_tokens(text: str, words: str) -> None:
    assert normalized(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "What brand is it?",
        "<image>\nWhat brand is it?\nAnswer the question using a single word or phrase.",
        "What brand is it? Answer the question using a single word or phrase.\n<image>",
        "What brand is it?\nBe succinct.",
        "Question: What brand is it?\nAnswer:",
        "Q: What brand is it? Short answer:",
        "Question: What brand is it? Give a very brief answer.\nAnswer: ",
        "What brand is it?\nReference OCR token: A, Be brief, C\nAnswer briefly.",
        "Answer the question using a single word or phrase.\nWhat brand is it?",
    ],
)
def test_known_wordings_around_a_question_do_not_count(text: str) -> None:
    assert normalized(text) == "what brand is it"


@pytest.mark.parametrize("phrase", INSTRUCTIONS)
def test_each_instruction_is_removed_after_a_question(phrase: str) -> None:
    assert normalized(f"Is it red?\n{phrase}") == "is it red"


def test_words_of_an_instruction_within_a_question_stay() -> None:
    assert normalized("Does he answer briefly here?") == "does he answer briefly here"


@pytest.mark.parametrize(
    "text",
    [
        "Which is it?\nA. cat\nB. dog\nC. a bird",
        "Which is it?\nA. a bird\nB. cat\nC. dog\nAnswer with the option's letter from the given "
        "choices directly.",
        "Question: Which is it?\nChoices:\n(a) dog\n(b) a bird\n(c) cat\nAnswer with the letter.",
        "Which is it? (A) dog (B) cat (C) a bird",
        "Which is it?\n1) dog\n2) cat\n3) a bird",
        "Which is it?\nOptions: dog, cat, or a bird\nAnswer:",
        "Which is it?\nOptions:\ndog\ncat\na bird",
        "Which is it?\n- dog\n- cat\n- a bird",
    ],
)
def test_options_are_a_set_in_any_order_and_with_any_labels(text: str) -> None:
    question = read_question(plain(text))
    assert words_of(question.stem) == ["which", "is", "it"]
    assert sorted(question.options) == ["a bird", "cat", "dog"]
    assert normalized(text) == "which is it a bird cat dog"


@pytest.mark.parametrize("text", ["Is it plan A. or b?", "What is in 3. Then?", "a. only one"])
def test_a_single_letter_or_number_is_no_option(text: str) -> None:
    assert read_question(plain(text)).options == ()


def test_a_context_is_no_part_of_the_question_but_of_its_whole_text() -> None:
    question = read_question(plain("Context: It rains.\nQuestion: Is it wet?\nAnswer:"))
    assert (question.context, question.stem) == ("it rains.", "is it wet?")
    assert words_of(question.text) == ["it", "rains", "is", "it", "wet"]


def test_an_answer_loses_its_label() -> None:
    assert words_of(read_answer(plain("Answer: Two dogs."))) == ["2", "dogs"]


TEXTS = st.text(st.sampled_from("aB1 .,:?\n(<)é图，ß-") | st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_a_normalized_text_stays_as_it_is(text: str) -> None:
    words = normalized(text)
    assert words_of(plain(words)) == words.split()


@given(TEXTS)
def test_a_text_that_is_not_wrapped_is_all_question(text: str) -> None:
    made = plain_texts(pa.array([text], pa.large_string()))
    if not is_wrapped(made)[0].as_py():
        question = read_question(made[0].as_py())
        assert words_of(question.stem) == words_of(made[0].as_py())
        assert (question.context, question.options) == ("", ())
