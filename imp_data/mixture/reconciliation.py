"""The proof that nothing vanishes: ledgers held against what was read and what was written."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import Outcome
from imp_data.mixture.arrow_dataset import mixture_batches
from imp_data.mixture.mixture_json import read_manifest
from imp_data.storage.digests import xxh3_keys
from imp_data.storage.tables import parquet_file, published_parquet_file, value_counts

_BATCH_ROWS = 1 << 15


class _Met:
    """Which numbers below `size` were met, at a byte each; and how often any other was."""

    def __init__(self, size: int) -> None:
        self._seen = np.zeros(size, np.bool_)
        self.others = 0

    def add(self, column: pa.Array) -> None:
        numbers = column.drop_null().to_numpy()
        inside = (numbers >= 0) & (numbers < len(self._seen))
        self._seen[numbers[inside]] = True
        self.others += len(numbers) - int(inside.sum())

    def count(self) -> int:
        """How many of them are different."""
        return int(self._seen.sum())


def records_account(ledger: Path, rows: int, samples: int) -> dict[str, tuple[int, int]]:
    """Found and expected figures of a records stage's ledger.

    Each of `rows` upstream rows has one row there, dropped for a reason or part of one of
    `samples` Samples. Memory: a byte of each.
    """
    ordinals, named = _Met(rows), _Met(samples)
    count = unsettled = 0
    columns = ["ordinal", "outcome", "reason", "sample"]
    for batch in parquet_file(ledger).iter_batches(_BATCH_ROWS, columns=columns):
        ordinal, outcome, reason, sample = batch.columns
        count += len(batch)
        ordinals.add(ordinal)
        named.add(sample)
        dropped = pc.and_(pc.equal(outcome, Outcome.DROPPED), pc.is_valid(reason))
        settled = pc.or_(pc.fill_null(dropped, False), pc.is_valid(sample))
        unsettled += len(batch) - settled.true_count
    return {
        "ledger rows": (count, rows),
        "different ordinals": (ordinals.count(), rows),
        "rows without a fate": (unsettled, 0),
        "Samples named by the ledger": (named.count(), samples),
        "Samples that do not exist": (named.others, 0),
    }


def conservation_problems(folder: Path) -> list[str]:
    """Where a mixture's ledger fails to account for a record or a Sample; empty where it does not.

    Compared are 64-bit hashes of ids, 16 bytes a Sample in all. The mixture's files are to be
    checked first, against their digests.
    """
    manifest = read_manifest(folder)
    rows: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    ledger = published_parquet_file(folder / "ledger.parquet")
    hashes = bytearray()
    for batch in ledger.iter_batches(_BATCH_ROWS, columns=["source", "outcome", "id"]):
        rows.update(value_counts(batch.column("source")))
        outcomes.update(value_counts(batch.column("outcome")))
        of_kept = batch.filter(pc.equal(batch.column("outcome"), Outcome.KEPT)).column("id")
        hashes += _hashes(of_kept.unique())
    problems = [
        f"{part['source']}: {rows[part['source']]:,} ledger rows, {part['rows_read']:,} rows read"
        for part in manifest["parts"]
        if rows[part["source"]] != part["rows_read"]
    ]
    strangers = sorted(str(o) for o in outcomes if o not in set(Outcome))
    if strangers:
        problems.append(f"ledger.parquet: outcomes that do not exist: {', '.join(strangers)}")
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
