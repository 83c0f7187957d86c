"""Reconcile ledgers with the rows read and the Samples written: no record vanishes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import Outcome
from imp_data.mixture.arrow_dataset import mixture_batches
from imp_data.mixture.copies import expand_ids
from imp_data.mixture.mixture_json import read_manifest
from imp_data.storage.digests import xxh3_keys
from imp_data.storage.tables import open_parquet, open_published_parquet, value_counts

_BATCH_ROWS = 1 << 15


class _SeenNumbers:
    """The numbers below `size` that occurred, at one byte each, and a count of all others."""

    def __init__(self, size: int) -> None:
        self._seen = np.zeros(size, np.bool_)
        self.others = 0

    def add(self, column: pa.Array) -> None:
        numbers = column.drop_null().to_numpy()
        inside = (numbers >= 0) & (numbers < len(self._seen))
        self._seen[numbers[inside]] = True
        self.others += len(numbers) - int(inside.sum())

    def count(self) -> int:
        """Return how many distinct numbers below `size` occurred."""
        return int(self._seen.sum())


def reconcile_records(ledger: Path, rows: int, samples: int) -> dict[str, tuple[int, int]]:
    """Return found and expected figures of a records stage's ledger.

    Expected: each of `rows` upstream rows has one ledger row, dropped for a reason or part of one
    of `samples` Samples. Memory: one byte for each row and each Sample.
    """
    ordinals, named = _SeenNumbers(rows), _SeenNumbers(samples)
    count = undecided = 0
    columns = ["ordinal", "outcome", "reason", "sample"]
    for batch in open_parquet(ledger).iter_batches(_BATCH_ROWS, columns=columns):
        ordinal, outcome, reason, sample = batch.columns
        count += len(batch)
        ordinals.add(ordinal)
        named.add(sample)
        dropped = pc.and_(pc.equal(outcome, Outcome.DROPPED), pc.is_valid(reason))
        decided = pc.or_(pc.fill_null(dropped, False), pc.is_valid(sample))
        undecided += len(batch) - decided.true_count
    return {
        "ledger rows": (count, rows),
        "different ordinals": (ordinals.count(), rows),
        "rows without an outcome": (undecided, 0),
        "Samples named by the ledger": (named.count(), samples),
        "Samples that do not exist": (named.others, 0),
    }


def reconciliation_problems(folder: Path) -> list[str]:
    """Return the records and Samples that a mixture's ledger fails to account for; else nothing.

    Compare 64-bit hashes of ids, with 16 bytes of memory for each Sample. The caller checks the
    files against their digests first.
    """
    manifest = read_manifest(folder)
    rows: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    ledger = open_published_parquet(folder / "ledger.parquet")
    hashes = bytearray()
    columns = ["source", "outcome", "id", "evidence"]
    for batch in ledger.iter_batches(_BATCH_ROWS, columns=columns):
        rows.update(value_counts(batch.column("source")))
        outcomes.update(value_counts(batch.column("outcome")))
        kept = batch.filter(pc.equal(batch.column("outcome"), Outcome.KEPT))
        hashes += _hashes(expand_ids(kept.column("id"), kept.column("evidence")).ids.unique())
    problems = [
        f"{part['source']}: {rows[part['source']]:,} ledger rows, {part['rows_read']:,} rows read"
        for part in manifest["parts"]
        if rows[part["source"]] != part["rows_read"]
    ]
    unknown = sorted(str(o) for o in outcomes if o not in set(Outcome))
    if unknown:
        problems.append(f"ledger.parquet: outcomes that do not exist: {', '.join(unknown)}")
    in_ledger = np.frombuffer(hashes, np.uint64)
    in_ledger.sort()
    in_ledger = in_ledger[np.diff(in_ledger, prepend=in_ledger[:1] + 1) != 0]
    in_shards = np.frombuffer(_shard_hashes(folder), np.uint64)
    in_shards.sort()
    if not np.array_equal(in_ledger, in_shards):
        problems.append(
            f"kept ids: {len(in_ledger):,} in ledger.parquet, {len(in_shards):,} in the shards, "
            f"{len(np.intersect1d(in_ledger, in_shards)):,} in both"
        )
    return problems


def _shard_hashes(folder: Path) -> bytearray:
    hashes = bytearray()
    for batch in mixture_batches(folder, ["id"]):
        hashes += _hashes(batch.column("id"))
    return hashes


def _hashes(ids: pa.StringArray) -> bytes:
    return np.array(xxh3_keys(0, ids.to_pylist()), np.uint64).tobytes()
