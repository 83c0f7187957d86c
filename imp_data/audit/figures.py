"""Sum up an audit: outcomes and reasons, images, texts, contamination, and what trainers do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from imp_data.audit.texts import text_figures
from imp_data.audit.trainers import trainer_effects
from imp_data.ledger import SENTENCES, Outcome, Reason
from imp_data.mixture.duplicates.report import read_report
from imp_data.pipeline.build import Build
from imp_data.storage.tables import open_parquet

_EXAMPLES = 3
_BENCHMARK_REASONS = (Reason.BENCHMARK_ID, Reason.BENCHMARK_BYTES, Reason.BENCHMARK_HASH)
_KEY_DIGITS = 16


def audit_figures(build: Build) -> dict[str, Any]:
    """Return the figures of a finished build, as plain values for JSON."""
    path = build.data.mixture(build.name) / "ledger.parquet"
    ledger = pl.scan_parquet(path)
    reasons = _count(ledger.filter(pl.col("outcome") != Outcome.KEPT), "reason")
    applied = ledger.select("repairs").explode("repairs", empty_as_null=False).unnest("repairs")
    repairs = _count(applied, "repair")
    outcomes = _count(ledger, "outcome")
    report = read_report(build.data.reports(build.name))
    sources = [*build.recipe.sources]
    texts = text_figures({source: build.data.records(source) for source in sources})
    return {
        "rows": sum(outcomes.values()),
        "outcomes": outcomes,
        "ignored_fields": _ignored_fields(build),
        "reasons": [
            {"reason": reason, "records": records, "sentence": SENTENCES[reason]}
            | {"examples": _examples(ledger, reason)}
            for reason, records in reasons.items()
        ],
        "repairs": [
            {"repair": repair, "records": records, "sentence": SENTENCES[repair]}
            for repair, records in repairs.items()
        ],
        **_image_figures([build.data.fingerprints(build.name, source) for source in sources]),
        "near_duplicates": {
            "clusters": report["alike"]["clusters"],
            "images": report["alike"]["images"],
            "within_bits": report["alike"]["max_distance_bits"],
            "examples": [one["images"] for one in report["alike"]["listed"][:_EXAMPLES]],
        },
        "contradictions": {
            "questions": report["contradictions"]["questions"],
            "examples": report["contradictions"]["listed"][:_EXAMPLES],
        },
        "contaminated": {
            reason.value: reasons[reason] for reason in _BENCHMARK_REASONS if reason in reasons
        },
        "benchmark_questions": _question_figures(build),
        "text": texts,
        "trainers": trainer_effects(reasons, texts["several_images"], texts["with_system"]),
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


def _ignored_fields(build: Build) -> dict[str, int]:
    """Return how many records have each field that is neither read nor a fault."""
    total = Counter[str]()
    for source in build.recipe.sources:
        total.update(build.figures(f"records/{source}")["fields_passed_over"])
    return dict(sorted(total.items(), key=lambda one: (-one[1], one[0])))


def _count(rows: pl.LazyFrame, column: str) -> dict[str, int]:
    """Count each value of a column, the most frequent first."""
    counted = rows.select(column).drop_nulls().group_by(column).len()
    ordered = counted.sort(pl.col("len"), column, descending=[True, False]).collect()
    return dict(ordered.iter_rows())


def _examples(ledger: pl.LazyFrame, reason: str) -> list[dict[str, Any]]:
    rows = ledger.filter(pl.col("reason") == reason).head(_EXAMPLES)
    found = rows.select("source", "ordinal", "upstream_id", "evidence").collect().to_dicts()
    return [{**row, "evidence": orjson.loads(row["evidence"] or b"{}")} for row in found]


def _image_figures(fingerprints: Sequence[Path]) -> dict[str, Any]:
    """Return how many images there are of each status, which are too small, and equal bytes.

    An image is a path that records name; two paths may be one image in bytes. Memory: 16 bytes an
    image.
    """
    statuses: dict[str, int] = {}
    small = 0
    parts = [np.zeros(0, np.uint64)]
    for path in fingerprints:
        for batch in open_parquet(path).iter_batches(columns=["status", "sha256", "reason"]):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            for status, count in frame.group_by("status").len().iter_rows():
                statuses[status] = statuses.get(status, 0) + count
            small += int((frame["reason"] == Reason.IMAGE_TOO_SMALL.value).sum())
            parts.append(_keys(frame["sha256"].drop_nulls()))
    distinct, counts = np.unique(np.concatenate(parts), return_counts=True)
    repeated = distinct[counts > 1]
    return {
        "images": dict(sorted(statuses.items())),
        "too_small_images": small,
        "same_bytes": {
            "groups": len(repeated),
            "images": int(counts[counts > 1].sum()),
            "examples": _equal_images(fingerprints, repeated[:_EXAMPLES]),
        },
    }


def _keys(digests: pl.Series) -> npt.NDArray[np.uint64]:
    """Return the first 64 bits of each sha256: of a million images two are the same by chance
    with a probability of 1 in 30 million."""
    return np.array([int(text[:_KEY_DIGITS], 16) for text in digests.to_list()], np.uint64)


def _equal_images(fingerprints: Sequence[Path], keys: npt.NDArray[np.uint64]) -> list[list[str]]:
    """Return some images of each of these keys, sorted."""
    begins = [f"{int(key):0{_KEY_DIGITS}x}" for key in keys]
    found: Mapping[str, list[str]] = {begin: [] for begin in begins}
    for path in fingerprints if begins else ():
        for batch in open_parquet(path).iter_batches(columns=["image", "sha256"]):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            begin = pl.col("sha256").str.head(_KEY_DIGITS)
            for image, key in frame.select("image", begin).iter_rows():
                if key in found and len(found[key]) < _EXAMPLES:
                    found[key].append(image)
    return [sorted(found[begin]) for begin in begins]
