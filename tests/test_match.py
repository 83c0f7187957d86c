"""The nearest of some hashes is found, whatever the numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.images import match
from imp_data.images.match import nearest

# Few different values as well as all, so that equal distances occur.
HASHES = st.lists(st.integers(0, 7) | st.integers(0, 2**64 - 1), max_size=12)


def hashes(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


@given(HASHES, HASHES.filter(bool), st.integers(1, 40))
def test_each_query_gets_the_nearest_reference_and_of_equally_near_ones_the_first(
    queries: list[int], references: list[int], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(match, "_BLOCK_PAIRS", at_once)
        found = nearest(hashes(queries), hashes(references))
    distances = [[(q ^ r).bit_count() for r in references] for q in queries]
    assert found.distance_bits.tolist() == [min(some) for some in distances]
    assert found.place.tolist() == [some.index(min(some)) for some in distances]


@pytest.mark.parametrize(
    ("query", "references", "distance", "place"),
    [
        (0b0000, [0b1111, 0b0011, 0b1100], 2, 1),
        (0b1010, [0b1010, 0b1010], 0, 0),
        (0, [2**64 - 1], 64, 0),
        (2**63, [1, 0], 1, 1),
    ],
)
def test_known_pairs(query: int, references: list[int], distance: int, place: int) -> None:
    found = nearest(hashes([query]), hashes(references))
    assert (found.distance_bits.tolist(), found.place.tolist()) == ([distance], [place])


def test_without_references_nothing_is_near() -> None:
    assert nearest(hashes([5, 6]), hashes([])).distance_bits.tolist() == [255, 255]


def test_without_queries_nothing_is_found() -> None:
    found = nearest(hashes([]), hashes([5]))
    assert (found.distance_bits.tolist(), found.place.tolist()) == ([], [])
