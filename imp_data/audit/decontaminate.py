"""List the records of a dataset that have images or questions of benchmarks, without a build."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from imp_data.audit.run import AuditOptions, Examined, examined
from imp_data.errors import UserError
from imp_data.ledger import Outcome, Reason
from imp_data.storage.atomic_write import json_text, write_atomically, write_text

VERSION = 1
# A record with a fault is dropped before its image or its questions are compared.
_IMAGE_REASONS = (Reason.BENCHMARK_ID, Reason.BENCHMARK_BYTES, Reason.BENCHMARK_HASH)
_COLUMNS = {
    "form": pl.String,
    "ordinal": pl.Int64,
    "upstream_id": pl.String,
    "benchmark": pl.String,
    "seen": pl.String,
    "by": pl.String,
    "benchmark_id": pl.String,
    "evidence": pl.String,
}


def decontaminate(where: str, options: AuditOptions) -> dict[str, Any]:
    """Compare a dataset with benchmarks; return the figures.

    With `options.out`, write contaminated.parquet, a row for each record and benchmark, and
    decontamination.json. Raise UserError if no benchmark is named.
    """
    if not (options.benchmarks or options.questions):
        remedy = "name packs: --benchmarks FILE (`imp-data pack` makes them), --questions PACK"
        raise UserError("imp-data decontaminate", "names no benchmark to compare with", remedy)
    with examined(where, options) as done:
        ledger = pl.read_parquet(done.ledger)
        found = pl.DataFrame([*_contaminated(ledger)], schema=_COLUMNS, orient="row")
        figures = _figures(done, ledger, found)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            _write(found, options.out / "contaminated.parquet")
            write_text(options.out / "decontamination.json", json_text(figures))
        return figures


def _contaminated(ledger: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each record and benchmark of which it has an image or a question."""
    reasons = [reason.value for reason in _IMAGE_REASONS]
    reported = pl.col("evidence").str.contains('"reported"', literal=True)
    suspects = ledger.filter(pl.col("reason").is_in(reasons) | reported)
    for row in suspects.iter_rows(named=True):
        where = (row["source"], row["ordinal"], row["upstream_id"])
        evidence = orjson.loads(row["evidence"])
        if row["reason"] in reasons:
            seen = "image_and_question" if "question" in evidence else "image"
            by = row["reason"].removeprefix("benchmark_")
            yield *where, evidence["benchmark"], seen, by, evidence["id"], row["evidence"]
        for one in evidence.get("reported", ()):
            seen = "answer" if "answer" in one["rule"] else "question"
            text = orjson.dumps(one).decode()
            yield *where, one["benchmark"], seen, one["rule"], one["id"], text


def _figures(done: Examined, ledger: pl.DataFrame, found: pl.DataFrame) -> dict[str, Any]:
    counted = found.group_by("benchmark", "seen").len().sort("benchmark", "seen")
    by_benchmark: dict[str, dict[str, int]] = {}
    for benchmark, seen, count in counted.iter_rows():
        by_benchmark.setdefault(benchmark, {})[seen] = count
    reasons = [reason.value for reason in _IMAGE_REASONS]
    faulty = ledger.filter(
        (pl.col("outcome") == Outcome.DROPPED.value) & ~pl.col("reason").is_in(reasons)
    )
    counts = faulty.group_by("reason").len().sort(pl.col("len"), "reason", descending=[True, False])
    return {
        "version": VERSION,
        "path": done.place.title,
        "revision": done.place.revision,
        "rows": len(ledger),
        "contaminated": found.select("form", "ordinal").n_unique(),
        "benchmarks": by_benchmark,
        "not_compared": dict(counts.iter_rows()),
        "not_read": dict(done.not_read),
    }


def _write(found: pl.DataFrame, path: Path) -> None:
    with write_atomically(path) as aside:
        found.write_parquet(aside, compression="zstd", statistics=False)
