"""The nearest hash is found for any numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.images import hamming
from imp_data.images.hamming import (
    band_radii,
    build_index,
    find_nearest,
    find_nearest_within,
    masks,
)

# Few different values as well as all, so that equal distances occur.
HASHES = st.lists(st.integers(0, 7) | st.integers(0, 2**64 - 1), max_size=12)


def hashes(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


@given(HASHES, HASHES.filter(bool), st.integers(1, 40))
def test_each_query_gets_the_nearest_reference_and_of_equally_near_ones_the_first(
    queries: list[int], references: list[int], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "_BLOCK_PAIRS", at_once)
        found = find_nearest(hashes(queries), hashes(references))
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
    found = find_nearest(hashes([query]), hashes(references))
    assert (found.distance_bits.tolist(), found.place.tolist()) == ([distance], [place])


def test_without_references_nothing_is_near() -> None:
    assert find_nearest(hashes([5, 6]), hashes([])).distance_bits.tolist() == [255, 255]
    assert (
        find_nearest_within(hashes([5, 6]), build_index(hashes([]), 10)).distance_bits.tolist()
        == [255] * 2
    )


def test_without_queries_nothing_is_found() -> None:
    for found in (
        find_nearest(hashes([]), hashes([5])),
        find_nearest_within(hashes([]), build_index(hashes([5]), 3)),
    ):
        assert (found.distance_bits.tolist(), found.place.tolist()) == ([], [])


@st.composite
def scattered(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """References, and queries that differ from one of them in up to 14 bits, or in any."""
    references = draw(HASHES.filter(bool))
    flips = st.sets(st.integers(0, 63), max_size=14).map(lambda bits: sum(1 << b for b in bits))
    near = st.builds(lambda r, f: r ^ f, st.sampled_from(references), flips)
    return draw(st.lists(near | st.integers(0, 2**64 - 1), max_size=12)), references


@given(scattered(), st.integers(0, 16), st.integers(1, 4000))
def test_within_a_distance_the_same_is_found_as_among_all_pairs(
    world: tuple[list[int], list[int]], max_bits: int, at_once: int
) -> None:
    queries, references = (hashes(values) for values in world)
    every = find_nearest(queries, references)
    near = every.distance_bits <= max_bits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "_BLOCK_PAIRS", at_once)
        found = find_nearest_within(queries, build_index(references, max_bits))
    assert found.distance_bits.tolist() == np.where(near, every.distance_bits, 255).tolist()
    assert found.place.tolist() == np.where(near, every.place, 0).tolist()


@pytest.mark.parametrize("max_bits", [0, 1, 4, 7, 10, 11, 12])
def test_every_distribution_of_the_bits_over_the_hash_is_found(max_bits: int) -> None:
    # As many bits as allowed, and one more: all within one 16-bit band, or over all four.
    for bits in ([*range(max_bits)], [16 * (n % 4) + n // 4 for n in range(max_bits)]):
        for first in (0, 16, 32, 48):
            flipped = [(b + first) % 64 for b in bits]
            query = sum(1 << b for b in flipped)
            found = find_nearest_within(hashes([query]), build_index(hashes([0]), max_bits))
            assert found.distance_bits.tolist() == [max_bits]
            beyond = query ^ (1 << next(b for b in range(64) if b not in flipped))
            found = find_nearest_within(hashes([beyond]), build_index(hashes([0]), max_bits))
            assert found.distance_bits.tolist() == [255]


@pytest.mark.parametrize("max_bits", range(16))
def test_every_pair_within_the_distance_is_near_in_some_band(max_bits: int) -> None:
    assert sum(radius + 1 for _, radius in band_radii(max_bits)) == max_bits + 1


def test_masks_are_all_numbers_of_few_bits_each_once() -> None:
    assert masks(2).tolist()[0] == 0
    assert sorted(masks(2).tolist()) == [n for n in range(1 << 16) if n.bit_count() <= 2]
