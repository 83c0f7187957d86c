"""Quotas: numbers, all, multiples, one by subset, and weights of a total."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imp_data.manifests import Amount, Mixture, SourceQuota
from imp_data.manifests.quotas import format_quota, parse_quota, share_out


def mixture(parts: list[dict[str, Any]], **fields: Any) -> Mixture:
    stated = [{"source": "ab"[n], "group": "All", **part} for n, part in enumerate(parts)]
    return Mixture.model_validate({"name": "m", "title": "M", "seed": 7, "parts": stated, **fields})


@pytest.mark.parametrize(
    ("quota", "meaning"),
    [
        (1000, SourceQuota(Amount(1000))),
        ("all", SourceQuota(Amount(None))),
        ("2x", SourceQuota(Amount(None, Fraction(2)))),
        ("1.5x", SourceQuota(Amount(None, Fraction(3, 2)))),
        ("0.25x", SourceQuota(Amount(None, Fraction(1, 4)))),
        (
            {"vqa": 1000, "gqa": "all"},
            SourceQuota(Amount(0), {"gqa": Amount(None), "vqa": Amount(1000)}),
        ),
    ],
)
def test_the_forms_of_a_quota(quota: Any, meaning: SourceQuota) -> None:
    assert parse_quota(quota) == meaning
    assert mixture([{"quota": quota}]).quota_of("a") == meaning


@pytest.mark.parametrize("quota", [0, -1, "x", "0x", "0.0x", "2", "-1x", "1e3x", {}, {"a": "5"}])
def test_other_quotas_are_refused(quota: Any) -> None:
    with pytest.raises(ValidationError):
        mixture([{"quota": quota}])


@pytest.mark.parametrize(
    ("multiple", "copies"),
    [("2", [2, 2, 2, 2]), ("1.5", [2, 2, 1, 1]), ("0.5", [1, 1, 0, 0]), ("1.6", [2, 2, 1, 1])],
)
def test_a_multiple_repeats_all_and_the_first_once_more(multiple: str, copies: list[int]) -> None:
    assert Amount(None, Fraction(multiple)).copies(4) == copies


@given(st.fractions(0, 9), st.integers(0, 200))
def test_the_copies_sum_to_the_multiple_rounded_down(multiple: Fraction, samples: int) -> None:
    copies = Amount(None, multiple).copies(samples)
    assert len(copies) == samples
    assert sum(copies) == samples * multiple // 1
    assert not copies or max(copies) - min(copies) <= 1
    assert copies == sorted(copies, reverse=True)


def test_weights_share_a_total_without_a_remainder() -> None:
    assert share_out(10, [0.5, 0.25, 0.25]) == [5, 3, 2]
    weighted = mixture([{"weight": 0.3}, {"weight": 0.7}], total=1001)
    assert [weighted.stated_quota(source) for source in "ab"] == [300, 701]
    assert weighted.quota_of("b") == SourceQuota(Amount(701))


@given(st.integers(1, 10**7), st.lists(st.integers(1, 999), min_size=1, max_size=9))
def test_shares_sum_to_the_total_and_differ_from_the_weight_by_less_than_one(
    total: int, parts: list[int]
) -> None:
    weights = [round(part / sum(parts), 9) for part in parts[:-1]]
    weights.append(float(1 - sum(Fraction(str(weight)) for weight in weights)))
    shares = share_out(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - total * Fraction(str(weight))) < 1


@pytest.mark.parametrize(
    ("parts", "total", "problem"),
    [
        ([{"weight": 0.3}, {"weight": 0.6}], 10, "the weights sum to 0.9, not to 1"),
        ([{"weight": 0.5}, {"quota": 5}], 10, "give each part a weight, or none"),
        ([{"weight": 1.0}], None, "state `total` and a weight of each part"),
        ([{"quota": 5}], 10, "state `total` and a weight of each part"),
        ([{"weight": 1.0, "quota": 5}], 10, "leave it out: the part has a weight"),
        ([{}], None, "state a number from 1 on, all, or a multiple; or a weight instead"),
    ],
)
def test_weights_that_do_not_fit_are_refused(parts: Any, total: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        mixture(parts, total=total)


def test_a_quota_as_text() -> None:
    assert format_quota(1000) == "1,000 Samples"
    assert format_quota({"gqa": "all", "vqa": "2x"}) == "gqa: all Samples; vqa: all Samples, 2x"
