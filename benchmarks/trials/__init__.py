"""Trials of robustness, one module per kind.

Each module has `trials(folder, seed)`, a generator that works in an empty folder of its own. It
yields an Outcome for each trial, the quick and the telling ones first: the caller stops asking when
the time of that kind is used up.
"""

from typing import NamedTuple


class Outcome(NamedTuple):
    """A trial and its failure; None if it passed."""

    trial: str
    failure: str | None = None
