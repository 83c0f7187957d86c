"""Intervals of shares and rates, against values of the literature."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.screening.decontamination.certificate.intervals import (
    clopper_pearson,
    upper_bound_per_million,
    wilson_of_clusters,
)


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [
        (0, 10, 0, 0.308497),  # 1 - 0.025 ** (1 / 10)
        (10, 10, 0.691503, 1),
        (1, 10, 0.002529, 0.445016),  # Clopper and Pearson's own table: 0.0025, 0.445
        (5, 10, 0.187086, 0.812914),
        (0, 0, 0, 1),
    ],
)
def test_a_share_of_independent_trials_has_the_exact_interval(
    found: int, of: int, low: float, high: float
) -> None:
    assert clopper_pearson(found, of) == (low, high)


def test_copies_of_one_image_count_less_if_they_are_found_together() -> None:
    apart = wilson_of_clusters([9, 9, 9, 9], [10, 10, 10, 10])
    together = wilson_of_clusters([10, 10, 10, 6], [10, 10, 10, 10])
    assert apart == (0.769482, 0.96042)  # Wilson's interval of 36 of 40
    assert together.low < apart.low
    assert together.high > 0.96


def test_without_trials_nothing_is_known() -> None:
    assert wilson_of_clusters([], []) == (0, 1)
    assert upper_bound_per_million(0, 0) == 1e6
    assert upper_bound_per_million(5, 5) == 1e6


def test_without_a_false_match_the_bound_is_three_in_the_number_of_pairs() -> None:
    assert upper_bound_per_million(0, 1_000_000) == 2.996
    assert upper_bound_per_million(0, 9_300_000) == 0.3221


def test_a_bound_with_false_matches_is_that_of_poisson() -> None:
    # 95 % upper bounds of Poisson's parameter for 1, 2 and 10 events: 4.744, 6.296 and 16.96.
    bounds = [upper_bound_per_million(events, 1_000_000) for events in (1, 2, 10)]
    assert bounds == [4.744, 6.296, 16.96]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=20))
def test_the_interval_of_a_group_contains_its_share(counts: list[tuple[int, int]]) -> None:
    found, of = [min(pair) for pair in counts], [pair[1] for pair in counts]
    low, high = wilson_of_clusters(found, of)
    assert 0 <= low <= round(sum(found) / sum(of), 6) <= high <= 1
