"""Exactly the question-and-answer pairs with conflicting answers are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.mixture.duplicates.conflicting_answers import find_conflicts
from imp_data.mixture.duplicates.qa_pairs import QAPairs, Rows

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=30)


@given(PAIRS, st.integers(1, 30))
def test_exactly_the_pairs_with_conflicting_answers_are_found(
    triples: list[tuple[int, int, int]], at_once: int
) -> None:
    image, question, answer = np.array(triples, np.int64).reshape(-1, 3).T
    pairs = QAPairs(
        np.arange(len(triples), dtype=np.int32),
        question.astype(np.uint64),
        answer.astype(np.uint64),
    )
    names = np.zeros(len(triples), np.uint64)
    numbers = np.arange(len(triples), dtype=np.int32)
    rows = Rows(names, names, np.zeros_like(numbers), numbers, (("s", ""),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imp_data.mixture.duplicates.conflicting_answers._AT_ONCE", at_once)
        found = find_conflicts(pairs, rows, image)
    expected = [
        n
        for n, (p, q, a) in enumerate(triples)
        if any((p, q) == (p2, q2) and a != a2 for p2, q2, a2 in triples)
    ]
    assert sorted(found["row"].to_list()) == expected
    groups = {(image[row], question[row]) for row in expected}
    assert found["group"].n_unique() == len(groups)


def test_a_question_on_several_images_is_one_on_the_same_images_in_the_same_order() -> None:
    samples = [[1, 2], [1, 2], [2, 1], [1], [3], [1]]
    image = np.array([number for own in samples for number in own], np.int32)
    sample = np.repeat(np.arange(6, dtype=np.int32), [len(own) for own in samples])
    names = image.astype(np.uint64)
    rows = Rows(names, names, np.zeros_like(sample), sample, (("s", ""),))
    same = np.zeros(6, np.uint64)
    pairs = QAPairs(np.arange(6, dtype=np.int32), same, np.arange(6).astype(np.uint64))
    found = find_conflicts(pairs, rows, image)
    assert found.select("row", "group").rows() == [(0, 0), (1, 0), (3, 1), (5, 1)]
