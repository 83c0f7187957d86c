"""The index of hashes finds every pair within the distance, once."""

import numpy as np
import pytest
from conftest import encoded, photo
from hypothesis import given
from hypothesis import strategies as st

from imp_data.screening.decontamination.certificate.matchers import BuildMatcher, HashIndex

BITS = st.integers(0, 2**64 - 1).map(lambda bits: bits & 0x000F_0000_0000_00FF)
LOOKS = st.none() | st.lists(BITS, min_size=2, max_size=2)
Found = dict[tuple[int, int], float]


def hashes(looks: list[int] | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]] | None:
    return None if looks is None else np.array(looks, np.uint64)


def found(index: HashIndex, images: list[list[int] | None]) -> Found:
    pairs = [
        ((image, reference), value)
        for some in index.match([hashes(one) for one in images])
        for image, reference, value in zip(*(part.tolist() for part in some), strict=True)
    ]
    assert len(dict(pairs)) == len(pairs)  # each once
    return dict(pairs)


@given(st.lists(LOOKS, max_size=9), st.lists(LOOKS, max_size=9), st.integers(0, 12))
def test_all_pairs_within_the_distance_are_found(
    images: list[list[int] | None], references: list[list[int] | None], loosest: int
) -> None:
    expected = {}
    for i, one in enumerate(images):
        for r, other in enumerate(references):
            bits = min(((a ^ b).bit_count() for a in one or () for b in other or ()), default=99)
            if bits <= loosest:
                expected[i, r] = bits
    assert found(HashIndex([hashes(one) for one in references], loosest), images) == expected


def test_hashes_of_several_words_count_the_bits_of_all() -> None:
    one, other = np.zeros((1, 4), np.uint64), np.array([[1, 3, 0, 7]], np.uint64)
    index = HashIndex([one], 31)
    (pairs,) = index.match([other])
    assert pairs.values.tolist() == [6]


def test_the_matcher_of_the_build_hashes_as_a_build_and_refuses_a_broken_image() -> None:
    matcher = BuildMatcher()
    data = encoded(photo(1))
    known = matcher.describe(data)
    assert known is not None and known.shape == (2,)
    assert matcher.describe(encoded(photo(1).resize((1, 1)).resize((50, 50)))) is None
    with pytest.raises(ValueError, match="truncated"):
        matcher.describe(data[:-200])
    (pairs,) = matcher.index([known, None]).match([None, known])
    assert (pairs.images.tolist(), pairs.references.tolist(), pairs.values.tolist()) == (
        [1],
        [0],
        [0],
    )
    assert [matcher.decide(bits, known, known) for bits in (10, 11)] == ["copy", "different"]
