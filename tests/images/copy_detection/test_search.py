"""All hashes within the distance are found, by bands as by comparing every pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.images.copy_detection import search
from imp_data.images.copy_detection.search import HashSearch

HASHES = st.lists(st.integers(0, 7) | st.integers(0, 2**64 - 1), max_size=12)


@given(HASHES, HASHES, st.integers(0, 11), st.booleans())
def test_every_pair_within_the_distance_is_found_once(
    queries: list[int], hashes: list[int], max_bits: int, banded: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_FEW_HASHES", -1 if banded else 100)
        found = HashSearch(np.array(hashes, np.uint64), max_bits).find(np.array(queries, np.uint64))
    expected = [
        (q, h, (one ^ other).bit_count())
        for q, one in enumerate(queries)
        for h, other in enumerate(hashes)
        if (one ^ other).bit_count() <= max_bits
    ]
    assert list(zip(*(some.tolist() for some in found), strict=True)) == expected


def test_hashes_near_in_one_band_only_are_found() -> None:
    hashes = np.arange(1 << 14, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    query = hashes[77] ^ np.uint64(0b111 | 0b111 << 20 | 0b11 << 40 | 0b11 << 60)
    found = HashSearch(hashes, 10).find(np.array([query], np.uint64))
    assert (77, 10) in zip(found.entry.tolist(), found.distance_bits.tolist(), strict=True)
