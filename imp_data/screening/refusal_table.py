"""Why images and rows are refused, in flat arrays: a source may lack all of a million images."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imp_data.ledger import Reason, Verdict, evidence_json

_REASONS = tuple(Reason)
_CODES = {reason: code for code, reason in enumerate(_REASONS)}
_NAMES = pa.array([reason.value for reason in _REASONS], pa.string())


class Refusals(NamedTuple):
    """Verdicts by key, which ascend: 21 bytes each, and the text of the evidence.

    Of key n the verdict is at `places[n]` of `codes` and `evidence`. A key is the name of an image,
    or the number of a row.
    """

    keys: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint8]
    evidence: pa.LargeStringArray

    def on(self, rows: npt.NDArray[np.int32], names: npt.NDArray[np.uint64]) -> "Refusals":
        """The verdicts on rows, given the name of each one's image.

        Raises KeyError if an image is not refused.
        """
        found = np.searchsorted(self.keys, names)
        if (found == len(self.keys)).any() or (self.keys[found] != names).any():
            raise KeyError("an image that is not refused")
        order = np.argsort(rows, kind="stable")
        places = self.places[found[order]]
        return self._replace(keys=rows[order].astype(np.uint64), places=places)

    def between(self, first: int, end: int) -> "Refusals":
        """Those with a key from `first` to before `end`."""
        begin, until = np.searchsorted(self.keys, np.array([first, end], np.uint64))
        return self._replace(keys=self.keys[begin:until], places=self.places[begin:until])

    def columns(self) -> tuple[pa.StringArray, pa.StringArray]:
        """Reason and evidence of each."""
        reasons = _NAMES.take(pa.array(self.codes[self.places]))
        return reasons, self.evidence.take(pa.array(self.places)).cast(pa.string())

    def counts(self) -> dict[str, int]:
        """How many there are of each reason that occurs, by its name."""
        found = np.bincount(self.codes[self.places], minlength=len(_REASONS)).tolist()
        return {r.value: count for r, count in zip(_REASONS, found, strict=True) if count}


def refusals(verdicts: Mapping[int, Verdict]) -> Refusals:
    """The verdicts of a dictionary."""
    keys = np.fromiter(verdicts, np.uint64, len(verdicts))
    codes = np.array([_CODES[verdict.reason] for verdict in verdicts.values()], np.uint8)
    texts = (evidence_json(verdict.evidence) for verdict in verdicts.values())
    order = np.argsort(keys, kind="stable")
    evidence = pa.array(texts, pa.large_string())
    return Refusals(keys[order], order.astype(np.int32), codes, evidence)


def joined(some: Sequence[Refusals]) -> Refusals:
    """All of several, which have no key in common."""
    several = [refusals({}), *some]
    begins = np.cumsum([0, *(len(one.codes) for one in several)])[:-1]
    shifted = zip(several, begins.tolist(), strict=True)
    places = np.concatenate([one.places + begin for one, begin in shifted])
    keys = np.concatenate([one.keys for one in several])
    codes = np.concatenate([one.codes for one in several])
    order = np.argsort(keys, kind="stable")
    evidence = pa.concat_arrays([one.evidence for one in several])
    return Refusals(keys[order], places[order].astype(np.int32), codes, evidence)
