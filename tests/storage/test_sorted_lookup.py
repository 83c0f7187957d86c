"""Values are found in sorted arrays at their first place."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imp_data.storage.sorted_lookup import find_sorted

NUMBERS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9))


@given(NUMBERS, NUMBERS)
def test_each_value_has_its_first_place_or_minus_one(known: list[int], values: list[int]) -> None:
    ascending = sorted(known)
    places = find_sorted(np.array(ascending, np.uint64), np.array(values, np.uint64))
    assert places.tolist() == [ascending.index(v) if v in known else -1 for v in values]
