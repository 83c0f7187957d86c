"""Hashes of words, texts and n-grams are those of the words as normalisation states them."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from imp_data.screening.decontamination.questions.normalization import plain_texts, words_of
from imp_data.screening.decontamination.questions.word_hashes import (
    hash_texts,
    hash_words,
    pair_hashes,
    set_hashes,
)

TEXTS = st.lists(
    st.text(st.sampled_from("aAb12 .,+é图two") | st.characters(exclude_categories=["Cs"])),
    max_size=6,
)


def plain(texts: list[str]) -> pa.Array:
    return plain_texts(pa.array(texts, pa.large_string()))


def test_equal_words_in_equal_order_have_equal_hashes_and_no_others() -> None:
    one, same, other_order, other, none = hash_texts(
        plain(["Two  dogs!", "2 DOGS", "dogs two", "two dog", " ?"])
    ).tolist()
    assert one == same
    assert len({one, other_order, other, none}) == 4
    assert none == 0


def test_the_hashes_are_the_same_on_every_machine() -> None:
    hashes = hash_texts(plain(["what color is the car?", "图", "1.5"])).tolist()
    assert hashes == [0x412058ADB6B79893, 0x439EF26E5DC324A8, 0xFEFFF054E7CF7E2E]


@given(TEXTS)
def test_a_word_is_hashed_as_part_of_its_text_as_alone(texts: list[str]) -> None:
    made = plain(texts)
    hashed = hash_words(made)
    for number, text in enumerate(made.to_pylist()):
        words = words_of(text)
        own = hashed.words[hashed.bounds[number] : hashed.bounds[number + 1]]
        alone = hash_words(pa.array(words, pa.large_string()))
        assert own.tolist() == alone.words.tolist()
        assert alone.bounds.tolist() == [*range(len(words) + 1)]


@given(TEXTS)
def test_texts_are_hashed_alike_in_any_slice(texts: list[str]) -> None:
    made = plain(texts)
    alone = [hash_texts(made.slice(n, 1))[0] for n in range(len(made))]
    assert hash_texts(made).tolist() == alone


def test_an_ngram_never_reaches_into_the_next_text() -> None:
    hashes, texts = hash_words(plain(["a b c", "", "d", "e f"])).ngrams(2)
    expected = hash_texts(plain(["a b", "b c", "e f"]))
    assert texts.tolist() == [0, 0, 3]
    together = hash_words(plain(["a b", "b c", "e f"])).ngrams(2)[0]
    assert hashes.tolist() == together.tolist()
    assert len(set(expected.tolist())) == 3


def test_a_set_has_one_hash_in_any_order() -> None:
    hashes = np.array([5, 9, 9, 5, 5], np.uint64)
    one, swapped, single, empty = set_hashes(hashes, np.array([0, 2, 4, 5, 5])).tolist()
    assert one == swapped != single
    assert empty == 0


def test_a_pair_has_another_hash_in_the_other_order() -> None:
    some, others = np.array([1, 2], np.uint64), np.array([2, 1], np.uint64)
    one, swapped = pair_hashes(some, others).tolist()
    assert one != swapped
