"""Build the ledger rows of a chunk, before the numbers of its Samples are known."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imp_data.ledger import (
    LEDGER_SCHEMA,
    REPAIR_TYPE,
    AppliedRepair,
    Outcome,
    Stage,
    Verdict,
    evidence_json,
)
from imp_data.sample import Draft, UpstreamRecord

Ints = npt.NDArray[np.int64]


class LedgerRowBuilder:
    """Collect the ledger rows of records that are processed one by one."""

    def __init__(self) -> None:
        self._rows: list[UpstreamRecord] = []
        self._verdicts: list[Verdict | None] = []
        self._samples: list[int] = []
        self.ignored_fields: Counter[str] = Counter()

    def add_rejected(self, row: UpstreamRecord, verdict: Verdict) -> None:
        """Add a row that belongs to no Draft."""
        self._add(row, verdict, -1)

    def add_draft(self, draft: Draft, verdict: Verdict | None, sample: int) -> None:
        """Add the rows of a Draft with one outcome; record its repairs at its first row."""
        draft.rows[0].repairs += draft.repairs
        for row in draft.rows:
            self._add(row, verdict, -1 if verdict else sample)

    def _add(self, row: UpstreamRecord, verdict: Verdict | None, sample: int) -> None:
        self._rows.append(row)
        self._verdicts.append(verdict)
        self._samples.append(sample)
        self.ignored_fields.update(row.ignored_fields)

    def build(self, source: str) -> tuple[pa.RecordBatch, Ints]:
        """Return the rows, and for each the number of its Sample (-1: none)."""
        ordinals = np.array([row.ordinal for row in self._rows], np.int64)
        ids = [_escape_surrogates(row.upstream_id) for row in self._rows]
        repairs = [row.repairs for row in self._rows]
        ledger = build_ledger_rows(source, ordinals, ids, self._verdicts, repairs)
        return ledger, np.array(self._samples, np.int64)


def build_ledger_rows(
    source: str,
    ordinals: Ints,
    ids: Sequence[str | None],
    verdicts: Sequence[Verdict | None],
    repairs: Sequence[list[AppliedRepair]],
) -> pa.RecordBatch:
    """Build a batch with all columns except `sample`."""
    columns = [
        pa.array([source] * len(ids), pa.string()),
        pa.array(ordinals, pa.int64()),
        pa.array(ids, pa.string()),
        pa.nulls(len(ids), pa.string()),
        pa.array([Outcome.DROPPED if v else None for v in verdicts], pa.string()),
        pa.array([Stage.RECORDS if v else None for v in verdicts], pa.string()),
        pa.array([v.reason if v else None for v in verdicts], pa.string()),
        pa.array([evidence_json(v.evidence) if v else None for v in verdicts], pa.string()),
        _repairs_column(repairs),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=LEDGER_SCHEMA)


def _escape_surrogates(text: str | None) -> str | None:
    return text if text is None else text.encode("utf-8", "backslashreplace").decode()


def _repairs_column(repairs: Sequence[list[AppliedRepair]]) -> pa.Array:
    pairs = [(str(repair.repair), repair.before) for some in repairs for repair in some]
    sides = [pa.array([pair[side] for pair in pairs], pa.string()) for side in (0, 1)]
    values = pa.StructArray.from_arrays(sides, fields=list(REPAIR_TYPE))
    bounds = np.cumsum([0, *map(len, repairs)])
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), values)
