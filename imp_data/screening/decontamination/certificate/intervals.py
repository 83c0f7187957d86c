"""Confidence intervals of shares and rates."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

# The normal quantile of a two-sided interval of 95 %.
_Z = 1.959963984540054
_ERROR = 0.05
# Digits that are stated: the last ones of a double differ between processors.
_DIGITS = 6


class Interval(NamedTuple):
    """The 95 % interval of a share."""

    low: float
    high: float


def clopper_pearson(found: int, of: int) -> Interval:
    """Return the exact two-sided interval of a share (Clopper and Pearson 1934).

    The units must be independent: one copy of each image, for example.
    """
    if not of:
        return Interval(0.0, 1.0)
    from scipy.special import betaincinv  # takes as long to import as many a command

    low = betaincinv(found, of - found + 1, _ERROR / 2) if found else 0.0
    high = betaincinv(found + 1, of - found, 1 - _ERROR / 2) if found < of else 1.0
    return Interval(round(float(low), _DIGITS), round(float(high), _DIGITS))


def wilson_of_clusters(found: Sequence[int], of: Sequence[int]) -> Interval:
    """Return Wilson's interval of a share, widened because copies of one image are alike.

    `found[n]` of the `of[n]` copies of image n are found. The number of copies is divided by the
    design effect: the variance between images over that of independent copies, at least 1
    (Korn and Graubard 1998). Where all or none are found, nothing tells how alike copies are, and
    they count as independent.
    """
    total, hits = sum(of), sum(found)
    if not total:
        return Interval(0.0, 1.0)
    share = hits / total
    size = total / _design_effect(found, of, share)
    middle = (share + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z / (1 + _Z**2 / size) * sqrt(share * (1 - share) / size + _Z**2 / (4 * size**2))
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return Interval(
        round(low, _DIGITS) if hits else 0.0, round(high, _DIGITS) if hits < total else 1.0
    )


def _design_effect(found: Sequence[int], of: Sequence[int], share: float) -> float:
    images, total = len(of), sum(of)
    if images < 2 or not 0 < share < 1:
        return 1.0
    squares = sum((hits - share * copies) ** 2 for hits, copies in zip(found, of, strict=True))
    between = squares * images / (images - 1) / total**2
    return max(between / (share * (1 - share) / total), 1.0)


def upper_bound_per_million(events: int, of: int) -> float:
    """Return the exact one-sided 95 % upper bound of a rate, per 10^6 trials.

    Without events it is the rule of three: about 3 in `of`.
    """
    if not of or events >= of:
        return 1e6
    from scipy.special import betaincinv

    return significant(1e6 * float(betaincinv(events + 1, of - events, 1 - _ERROR)))


def significant(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")
