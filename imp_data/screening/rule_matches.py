"""Apply exclusion rules to the batches of a records file, and collect the refusals."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imp_data.ledger import Verdict
from imp_data.screening.exclusion_rules import PreparedRule, match_each
from imp_data.screening.refusal_table import Refusals, join_refusals, refusals_from_verdicts


class RuleMatches(NamedTuple):
    """The refusals by row, one for each excluded row, and the rows that each rule matches.

    A row that several rules match has one refusal and counts for each of these rules.
    """

    refused: Refusals
    matched: Mapping[str, int]

    def shifted(self, first: int) -> "RuleMatches":
        """Return the matches with row numbers that begin at `first`."""
        keys = self.refused.keys + np.uint64(first)
        return self._replace(refused=self.refused._replace(keys=keys))


class RuleTally:
    """Collect the matches of rules on batch after batch; rows are counted over all batches."""

    def __init__(self, rules: Sequence[PreparedRule]) -> None:
        self._rules = rules
        self._refused: list[Refusals] = []
        self._matched = Counter[str]()
        self._rows = 0

    def add(self, batch: pa.RecordBatch, decided: Callable[[int], bool]) -> None:
        """Apply the rules to the next batch; `decided` tells rows refused for another reason."""
        first, self._rows = self._rows, self._rows + len(batch)
        if not self._rules:
            return
        mask = np.fromiter(map(decided, range(first, self._rows)), np.bool_, len(batch))
        verdicts, counts = match_each(batch, self._rules, mask)
        self._matched.update(counts)
        if verdicts:
            self._refused.append(_table(verdicts, first))

    def matches(self) -> RuleMatches:
        """Return the matches on all batches."""
        return RuleMatches(join_refusals(self._refused), dict(self._matched))


def _table(verdicts: dict[int, Verdict], first: int) -> Refusals:
    return refusals_from_verdicts({first + row: verdict for row, verdict in verdicts.items()})


def join_matches(several: Iterable[RuleMatches]) -> RuleMatches:
    """Join the matches of rules on different rows, or of different rules."""
    parts = list(several)
    matched = sum((Counter(part.matched) for part in parts), Counter[str]())
    return RuleMatches(join_refusals([part.refused for part in parts]), dict(matched))


def is_refused(refused: Refusals, count: int) -> npt.NDArray[np.bool_]:
    """Return for each of so many rows whether the table refuses it."""
    mask = np.zeros(count, np.bool_)
    mask[refused.keys.astype(np.int64)] = True
    return mask
