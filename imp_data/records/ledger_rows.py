"""What a chunk's records leave in the ledger, before it is known which Samples they become."""

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
from imp_data.sample import Draft, Row

Ints = npt.NDArray[np.int64]


class Entries:
    """The ledger rows of records read one by one."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._verdicts: list[Verdict | None] = []
        self._samples: list[int] = []
        self.passed_over: Counter[str] = Counter()

    def dropped(self, row: Row, verdict: Verdict) -> None:
        """One row that is not even a Draft."""
        self._add(row, verdict, -1)

    def of_draft(self, draft: Draft, verdict: Verdict | None, sample: int) -> None:
        """All rows of a Draft share its fate; what was mended in it is noted at its first row."""
        draft.rows[0].mends += draft.mends
        for row in draft.rows:
            self._add(row, verdict, -1 if verdict else sample)

    def _add(self, row: Row, verdict: Verdict | None, sample: int) -> None:
        self._rows.append(row)
        self._verdicts.append(verdict)
        self._samples.append(sample)
        self.passed_over.update(row.passed_over)

    def ledger(self, source: str) -> tuple[pa.RecordBatch, Ints]:
        """The rows, and of each the Sample it went into."""
        ordinals = np.array([row.ordinal for row in self._rows], np.int64)
        ids = [_encodable(row.upstream_id) for row in self._rows]
        mends = [row.mends for row in self._rows]
        ledger = ledger_rows(source, ordinals, ids, self._verdicts, mends)
        return ledger, np.array(self._samples, np.int64)


def ledger_rows(
    source: str,
    ordinals: Ints,
    ids: Sequence[str | None],
    verdicts: Sequence[Verdict | None],
    mends: Sequence[list[AppliedRepair]],
) -> pa.RecordBatch:
    """The columns but for `sample`."""
    columns = [
        pa.array([source] * len(ids), pa.string()),
        pa.array(ordinals, pa.int64()),
        pa.array(ids, pa.string()),
        pa.nulls(len(ids), pa.string()),
        pa.array([Outcome.DROPPED if v else None for v in verdicts], pa.string()),
        pa.array([Stage.RECORDS if v else None for v in verdicts], pa.string()),
        pa.array([v.reason if v else None for v in verdicts], pa.string()),
        pa.array([evidence_json(v.evidence) if v else None for v in verdicts], pa.string()),
        _repairs(mends),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=LEDGER_SCHEMA)


def _encodable(text: str | None) -> str | None:
    return text if text is None else text.encode("utf-8", "backslashreplace").decode()


def _repairs(mends: Sequence[list[AppliedRepair]]) -> pa.Array:
    pairs = [(str(mend.repair), mend.before) for some in mends for mend in some]
    sides = [pa.array([pair[side] for pair in pairs], pa.string()) for side in (0, 1)]
    values = pa.StructArray.from_arrays(sides, fields=list(REPAIR_TYPE))
    bounds = np.cumsum([0, *map(len, mends)])
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), values)
