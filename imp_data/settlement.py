"""A mixture's ledger: what each stage decided, told of every upstream row; and the proof of it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.arrow_dataset import mixture_ids
from imp_data.ledger import LEDGER_SCHEMA, Outcome, Stage
from imp_data.store import arrow_batches, parquet_file, parquet_writer, xxh3_keys

_BATCH_ROWS = 1 << 15


class Share(NamedTuple):
    """One source as the mixture stage needs it."""

    source: str
    license: str
    records: Path
    ledger: Path
    screened: Path


def write_ledger(path: Path, shares: Sequence[Share]) -> dict[str, dict[str, Any]]:
    """One row for each upstream record of each source; returns the figures by source."""
    figures: dict[str, dict[str, Any]] = {}
    with parquet_writer(path, LEDGER_SCHEMA) as writer:
        for share in shares:
            decisions = _Decisions(share.screened)
            counts: dict[str, Counter[str]] = {
                name: Counter() for name in ("outcomes", "reasons", "repairs")
            }
            for batch in parquet_file(share.ledger).iter_batches(_BATCH_ROWS):
                rows = decisions.settle(batch)
                writer.write_batch(rows)
                counts["outcomes"].update(rows.column("outcome").to_pylist())
                counts["reasons"].update(rows.column("reason").drop_null().to_pylist())
                repairs = rows.column("repairs").flatten().field("repair")
                counts["repairs"].update(repairs.to_pylist())
            figures[share.source] = {name: dict(sorted(c.items())) for name, c in counts.items()}
            figures[share.source]["samples"] = decisions.kept
    return figures


class _Decisions:
    """What screening decided of each Sample row, to be told of the upstream rows in it."""

    def __init__(self, screened: Path) -> None:
        columns = ["outcome", "reason", "evidence"]
        batches = list(arrow_batches(screened, columns))
        self._table = pa.Table.from_batches(batches) if batches else None
        outcomes = self._table.column("outcome") if self._table else pa.array([], pa.string())
        self.kept = pc.sum(pc.equal(outcomes, Outcome.KEPT)).as_py() or 0

    def settle(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Ledger rows with an outcome each: the records stage's own, or what screening decided."""
        if self._table is None:
            return batch.drop_columns("sample")
        decided = self._table.take(batch.column("sample")).combine_chunks()
        outcome = decided.column("outcome").combine_chunks()
        stage = pc.if_else(
            pc.equal(outcome, Outcome.DROPPED), Stage.SCREENED.value, Stage.MIXTURE.value
        )
        settled = {
            "outcome": outcome,
            "stage": stage,
            "reason": decided.column("reason").combine_chunks(),
            "evidence": decided.column("evidence").combine_chunks(),
        }
        columns = [
            pc.coalesce(batch.column(name), settled[name].cast(pa.string()))
            if name in settled
            else batch.column(name)
            for name in LEDGER_SCHEMA.names
        ]
        return pa.RecordBatch.from_arrays(columns, schema=LEDGER_SCHEMA)


def conservation_problems(folder: Path) -> list[str]:
    """Where a mixture's ledger fails to account for a record or a Sample; empty where it does not.

    Compared are 64-bit hashes of ids, 8 bytes a Sample.
    """
    manifest = orjson.loads((folder / "mixture.json").read_bytes())
    rows: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    ledger = parquet_file(folder / "ledger.parquet")
    hashes: list[npt.NDArray[np.uint64]] = []
    for batch in ledger.iter_batches(_BATCH_ROWS, columns=["source", "outcome", "id"]):
        rows.update(batch.column("source").to_pylist())
        outcomes.update(batch.column("outcome").to_pylist())
        of_kept = batch.filter(pc.equal(batch.column("outcome"), Outcome.KEPT)).column("id")
        hashes.append(np.array(xxh3_keys(0, of_kept.unique().to_pylist()), np.uint64))
    problems = [
        f"{part['source']}: {rows[part['source']]:,} ledger rows, {part['rows_read']:,} rows read"
        for part in manifest["parts"]
        if rows[part["source"]] != part["rows_read"]
    ]
    strangers = sorted(str(o) for o in outcomes if o not in set(Outcome))
    if strangers:
        problems.append(f"ledger.parquet: outcomes that do not exist: {', '.join(strangers)}")
    in_ledger = np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes]))
    in_shards = np.sort(np.array(xxh3_keys(0, list(mixture_ids(folder))), np.uint64))
    if not np.array_equal(in_ledger, in_shards):
        problems.append(
            f"kept ids: {len(in_ledger):,} in ledger.parquet, {len(in_shards):,} in the shards, "
            f"{len(np.intersect1d(in_ledger, in_shards)):,} in both"
        )
    return problems
