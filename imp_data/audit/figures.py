"""Sum up an audit: outcomes and reasons, images, text, contamination, and what trainers do."""

from pathlib import Path
from typing import Any

import polars as pl

from imp_data.audit.trainers import trainer_effects
from imp_data.ledger import SENTENCES, Outcome, Reason
from imp_data.mixture.arrow_dataset import mixture_batches
from imp_data.mixture.duplicates.report import read_report
from imp_data.pipeline.build import Build

_EXAMPLES = 3
_QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
_BENCHMARK_REASONS = (Reason.BENCHMARK_ID, Reason.BENCHMARK_BYTES, Reason.BENCHMARK_HASH)


def audit_figures(build: Build) -> dict[str, Any]:
    """Return the figures of a finished build, as plain values for JSON."""
    folder = build.data.mixture(build.name)
    ledger = pl.read_parquet(folder / "ledger.parquet")
    reasons = _count(ledger.filter(pl.col("outcome") != Outcome.KEPT), "reason")
    repairs = _count(ledger.explode("repairs").unnest("repairs"), "repair")
    report = read_report(build.data.reports(build.name))
    return {
        "rows": len(ledger),
        "outcomes": _count(ledger, "outcome"),
        "reasons": [
            {"reason": reason, "records": records, "sentence": SENTENCES[reason]}
            | {"examples": _examples(ledger, reason)}
            for reason, records in reasons.items()
        ],
        "repairs": [
            {"repair": repair, "records": records, "sentence": SENTENCES[repair]}
            for repair, records in repairs.items()
        ],
        "images": _image_figures(build),
        "near_duplicates": {
            "clusters": report["alike"]["clusters"],
            "images": report["alike"]["images"],
            "within_bits": report["alike"]["max_distance_bits"],
        },
        "contradictions": report["contradictions"]["questions"],
        "contaminated": {
            reason.value: reasons[reason] for reason in _BENCHMARK_REASONS if reason in reasons
        },
        "benchmark_questions": _question_figures(build),
        "text": _text_figures(folder),
        "trainers": trainer_effects(reasons),
    }


def _question_figures(build: Build) -> dict[str, dict[str, int]]:
    """Return by benchmark how many samples have what of it; nothing without question packs."""
    total: dict[str, dict[str, int]] = {}
    for source in build.recipe.sources:
        found = build.figures(f"screened/{source}").get("questions", {})
        for benchmark, counts in found.items():
            sums = total.setdefault(benchmark, dict.fromkeys(counts, 0))
            for seen, one in counts.items():
                sums[seen] += one["samples"]
    return total


def _count(rows: pl.DataFrame, column: str) -> dict[str, int]:
    """Count each value of a column, the most frequent first."""
    counted = rows.drop_nulls(column).group_by(column).len()
    return dict(counted.sort(pl.col("len"), column, descending=[True, False]).iter_rows())


def _examples(ledger: pl.DataFrame, reason: str) -> list[dict[str, Any]]:
    rows = ledger.filter(pl.col("reason") == reason).head(_EXAMPLES)
    return rows.select("source", "ordinal", "upstream_id", "evidence").to_dicts()


def _image_figures(build: Build) -> dict[str, int]:
    """Return how many distinct images there are of each status."""
    total: dict[str, int] = {}
    for source in build.recipe.sources:
        for status, count in build.figures(f"images/{source}")["statuses"].items():
            total[status] = total.get(status, 0) + count
    return dict(sorted(total.items()))


def _text_figures(folder: Path) -> dict[str, dict[str, float]]:
    """Return quantiles of turns, and of the characters and words of answers, over the samples."""
    frames = []
    for batch in mixture_batches(folder, ["conversations"]):
        turns = pl.from_arrow(batch)
        assert isinstance(turns, pl.DataFrame)
        value = pl.element().struct.field("value")
        answers = pl.col("conversations").list.gather_every(2, 1)
        frames.append(
            turns.select(
                turns=pl.col("conversations").list.len(),
                characters=pl.col("conversations").list.eval(value.str.len_chars()).list.sum(),
                answer_words=answers.list.eval(value.str.count_matches(r"\S+")).list.sum(),
            )
        )
    if not frames:
        return {}
    rows = pl.concat(frames)
    return {
        column: {name: float(rows[column].quantile(q) or 0) for name, q in _QUANTILES.items()}
        for column in rows.columns
    }
