"""Trials of what must hold whatever comes in: one module for each kind.

Each module has `trials(folder, seed)`, a generator that works in an empty folder of its own. It
yields an Outcome for each trial, the quick and the telling ones first: the caller stops asking when
the time of that kind is used up.
"""

from typing import NamedTuple


class Outcome(NamedTuple):
    """What a trial was, and what failed; no failure: it held."""

    trial: str
    failure: str | None = None
