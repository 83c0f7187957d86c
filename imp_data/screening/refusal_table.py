"""Refusals of images and rows in flat arrays: a source may lack all of a million images."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import Reason, Verdict, evidence_json
from imp_data.storage.sorted_lookup import find_sorted

_REASONS = tuple(Reason)
_NAMES = pa.array([reason.value for reason in _REASONS], pa.string())


class Refusals(NamedTuple):
    """Verdicts by ascending key: 21 bytes each, and the text of the evidence.

    The verdict on key n is at `places[n]` of `codes` and `evidence`. A key is the path hash of an
    image, or the number of a row.
    """

    keys: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint8]
    evidence: pa.LargeStringArray

    def for_rows(
        self,
        rows: npt.NDArray[np.int32],
        names: npt.NDArray[np.uint64],
        positions: npt.NDArray[np.int64] | None = None,
    ) -> "Refusals":
        """Return the refusals of rows, given the path hash of each row's refused image.

        `positions` are those of the images within their rows, which the evidence then states; -1
        where a row has no other. Raise KeyError if an image is not refused.
        """
        found = find_sorted(self.keys, names)
        if (found < 0).any():
            raise KeyError("an image that is not refused")
        order = np.argsort(rows, kind="stable")
        places = self.places[found[order]]
        refused = self._replace(keys=rows[order].astype(np.uint64), places=places)
        if positions is None or (positions < 0).all():
            return refused
        return refused._with_positions(positions[order])

    def _with_positions(self, positions: npt.NDArray[np.int64]) -> "Refusals":
        texts = self.evidence.take(pa.array(self.places)).to_pylist()
        stated = [
            text if position < 0 else evidence_json({**orjson.loads(text), "position": position})
            for text, position in zip(texts, positions.tolist(), strict=True)
        ]
        evidence = pa.array(stated, pa.large_string())
        own = np.arange(len(stated), dtype=np.int32)
        return self._replace(places=own, codes=self.codes[self.places], evidence=evidence)

    def between(self, first: int, end: int) -> "Refusals":
        """Return the refusals with a key from `first` to before `end`."""
        begin, until = np.searchsorted(self.keys, np.array([first, end], np.uint64))
        return self._replace(keys=self.keys[begin:until], places=self.places[begin:until])

    def columns(self) -> tuple[pa.StringArray, pa.StringArray]:
        """Return the reason and the evidence of each refusal."""
        reasons = _NAMES.take(pa.array(self.codes[self.places]))
        return reasons, self.evidence.take(pa.array(self.places)).cast(pa.string())

    def counts(self) -> dict[str, int]:
        """Count the refusals by the name of their reason; omit reasons that do not occur."""
        found = np.bincount(self.codes[self.places], minlength=len(_REASONS)).tolist()
        return {r.value: count for r, count in zip(_REASONS, found, strict=True) if count}


def refusals_from_verdicts(verdicts: Mapping[int, Verdict]) -> Refusals:
    """Build the table from a dictionary."""
    keys = np.fromiter(verdicts, np.uint64, len(verdicts))
    reasons = pa.array([verdict.reason.value for verdict in verdicts.values()], pa.string())
    texts = (evidence_json(verdict.evidence) for verdict in verdicts.values())
    return refusals_from_columns(keys, reasons, pa.array(texts, pa.large_string()))


def refusals_from_columns(
    keys: npt.NDArray[np.uint64],
    reasons: pa.StringArray,
    evidence: pa.StringArray | pa.LargeStringArray,
) -> Refusals:
    """Build the table from columns, one row for each refusal, in any order."""
    codes = pc.index_in(reasons, _NAMES).to_numpy().astype(np.uint8)
    order = np.argsort(keys, kind="stable")
    texts = evidence.cast(pa.large_string())
    return Refusals(keys[order], order.astype(np.int32), codes, texts)


def join_refusals(tables: Sequence[Refusals]) -> Refusals:
    """Join tables that have no key in common."""
    several = [refusals_from_verdicts({}), *tables]
    begins = np.cumsum([0, *(len(one.codes) for one in several)])[:-1]
    shifted = zip(several, begins.tolist(), strict=True)
    places = np.concatenate([one.places + begin for one, begin in shifted])
    keys = np.concatenate([one.keys for one in several])
    codes = np.concatenate([one.codes for one in several])
    order = np.argsort(keys, kind="stable")
    evidence = pa.concat_arrays([one.evidence for one in several])
    return Refusals(keys[order], places[order].astype(np.int32), codes, evidence)
