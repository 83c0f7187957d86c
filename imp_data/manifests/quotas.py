"""How many Samples a mixture takes from a source: a number, all, a multiple, or one by subset."""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Discriminator, Field, Tag

from imp_data.manifests.field_errors import UNION_TAG
from imp_data.manifests.fields import Count, Positive

_MULTIPLE = re.compile(r"(\d+(?:\.\d+)?)x")
# As many Samples as pass, times a positive factor below 1,000.
_QUOTA = r"^(all|0*[1-9][0-9]{0,2}(\.[0-9]{1,3})?x|0\.0{0,2}[1-9][0-9]{0,2}x)$"


def _check_text(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(_QUOTA, value):
        raise ValueError("should be a number from 1 on, all, or a multiple such as 2x")
    return value


Multiple = Annotated[str, Field(pattern=_QUOTA), BeforeValidator(_check_text)]


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return _SUBSETS
    return _TEXT if isinstance(value, str) else _NUMBER


_NUMBER, _TEXT, _SUBSETS = (f"{UNION_TAG}{kind}" for kind in ("number", "multiple", "subsets"))
SubsetQuota = Annotated[
    Annotated[Count, Tag(_NUMBER)] | Annotated[Multiple, Tag(_TEXT)], Discriminator(_kind)
]
Quota = Annotated[
    Annotated[Positive, Tag(_NUMBER)]
    | Annotated[Multiple, Tag(_TEXT)]
    | Annotated[dict[str, SubsetQuota], Tag(_SUBSETS), Field(min_length=1)],
    Discriminator(_kind),
]


class Amount(NamedTuple):
    """At most this many Samples (None: all), and then each of them `multiple` times."""

    most: int | None
    multiple: Fraction = Fraction(1)

    def copies(self, samples: int) -> list[int]:
        """Return how often each of so many Samples occurs, in sampling order.

        The sum is floor(samples * multiple), and two numbers differ by one at most: with 1.5, all
        occur once and the first half twice.
        """
        whole = floor(self.multiple)
        more = floor(samples * self.multiple) - samples * whole
        return [whole + 1] * more + [whole] * (samples - more)


class SourceQuota(NamedTuple):
    """The amount of a source; or, where `by_subset` is not empty, of each of its subsets.

    A subset that `by_subset` does not name gives nothing.
    """

    amount: Amount
    by_subset: Mapping[str, Amount] = {}


def parse_quota(quota: int | str | Mapping[str, int | str]) -> SourceQuota:
    """Return what a manifest's `quota` means."""
    if isinstance(quota, Mapping):
        by_subset = {name: _parse_amount(one) for name, one in sorted(quota.items())}
        return SourceQuota(Amount(0), by_subset)
    return SourceQuota(_parse_amount(quota))


def _parse_amount(quota: int | str) -> Amount:
    if isinstance(quota, int):
        return Amount(quota)
    factor = _MULTIPLE.fullmatch(quota)
    return Amount(None, Fraction(factor[1]) if factor else Fraction(1))


def share_out(total: int, weights: Sequence[float]) -> list[int]:
    """Return the share of each weight in a total: whole numbers whose sum is the total.

    Largest remainders (Hamilton's method); of equal remainders the earlier weight wins. Weights
    are read as the decimal numbers that they are written as.
    """
    exact = [total * Fraction(str(weight)) for weight in weights]
    shares = [floor(one) for one in exact]
    by_remainder = sorted(range(len(exact)), key=lambda n: shares[n] - exact[n])
    for n in by_remainder[: total - sum(shares)]:
        shares[n] += 1
    return shares


def format_quota(quota: int | str | Mapping[str, int | str]) -> str:
    """Return a quota as text: "1,000 Samples", "all Samples, 2x"…"""
    if isinstance(quota, Mapping):
        return "; ".join(f"{name}: {format_quota(one)}" for name, one in quota.items())
    if isinstance(quota, int):
        return f"{quota:,} Samples"
    return "all Samples" if quota == "all" else f"all Samples, {quota}"
