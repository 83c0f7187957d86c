"""The conditions of `--fail-on`: reasons, shares of dropped records, and both."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.ledger import Outcome, Reason

_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")
_ANY = "any"


class Condition(NamedTuple):
    """A reason, or `any` of all, and the percentage of the records that may have it."""

    reason: str
    most_percent: float


def parse_conditions(text: str | None) -> list[Condition]:
    """Return the conditions `any`, `REASON`, `5%` and `REASON:5%` of a list with commas.

    Raise UserError for another one.
    """
    return [_parse(one.strip()) for one in (text or "").split(",") if one.strip()]


def _parse(text: str) -> Condition:
    reason, separator, share = text.partition(":")
    if whole := _SHARE.fullmatch(text):
        return Condition(_ANY, float(whole[1]))
    percent = _SHARE.fullmatch(share)
    known = [one.value for one in Reason]
    if reason not in (_ANY, *known) or (separator and not percent):
        remedy = f"write any, REASON, 5% or REASON:5%; reasons: {', '.join(known)}"
        raise UserError("--fail-on", f"{text} is no reason or percentage", remedy)
    return Condition(reason, float(percent[1]) if percent else 0.0)


def met_conditions(found: dict[str, Any], conditions: list[Condition]) -> Iterator[str]:
    """Yield what meets one of the conditions, as text; a file that is not read meets `any`."""
    counts = {one["reason"]: one["records"] for one in found["reasons"]}
    dropped = found["outcomes"].get(Outcome.DROPPED, 0)
    for reason, percent in conditions:
        count = dropped if reason == _ANY else counts.get(reason, 0)
        share = 100 * count / found["rows"] if found["rows"] else 0.0
        if share > percent:
            name = "records dropped" if reason == _ANY else reason
            yield f"{name}: {count:,} ({share:.1f} %)"
        if reason == _ANY and not percent and found["not_read"]:
            yield f"files that are not read: {len(found['not_read']):,}"
