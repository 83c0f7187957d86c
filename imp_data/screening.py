"""The screening stage: exclusions, benchmark pictures, broken pictures; in the order of the draw.

What can be told from a record's text and paths is told of every record. Pictures are opened in
draw order and no further than the quota needs: a refused picture gives its place to the next, so
the result is the same as if all had been screened before the draw.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.benchmarks import Pack
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.match import nearest
from imp_data.ledger import Outcome, Reason, Verdict, evidence_json
from imp_data.manifest import Exclusion, Limits, Mixture
from imp_data.store import arrow_batches, arrow_writer, xxh3_keys

SCREENED_SCHEMA = pa.schema(
    [
        pa.field("sample", pa.int32()),
        pa.field("id", pa.string()),
        pa.field("outcome", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("evidence", pa.string()),
        pa.field("image_sha256", pa.string()),
        pa.field("image_width", pa.int32()),
        pa.field("image_height", pa.int32()),
    ]
)
# A draw asks for at most this many pictures at once; bounds memory, changes nothing else.
_MOST_AT_ONCE = 1 << 16
_BATCH_ROWS = 1 << 16

Fingerprints = Callable[[Sequence[str]], list[Fingerprint]]


class Benchmarked(NamedTuple):
    """A benchmark's pack and the distance up to which a picture counts as one of its own."""

    pack: Pack
    max_distance_bits: int


class Candidates(NamedTuple):
    """A source's Samples before the draw: what text alone says of each.

    `ids` and `images` are by Sample row; `refused` has the verdicts that need no picture; `order`
    has the other rows in draw order.
    """

    ids: pa.Array
    images: pa.Array
    subsets: pa.Array
    refused: dict[int, Verdict]
    order: npt.NDArray[np.int64]


class Drawn(NamedTuple):
    """How far a draw went: rows that passed and rows refused by their pictures."""

    passed: dict[int, Fingerprint | None]
    refused: dict[int, Verdict]


def candidates(
    mixture: Mixture, source: str, records: Path, benchmarks: Sequence[Benchmarked]
) -> Candidates:
    """Screen a source's Samples by text and path, and put the rest into draw order."""
    exclusions = [e for e in mixture.exclusions if e.source == source]
    columns = ["id", "subset", "image", "conversations"][: 4 if exclusions else 3]
    refused: dict[int, Verdict] = {}
    parts: list[pa.RecordBatch] = []
    for batch in arrow_batches(records, columns):
        first = sum(len(part) for part in parts)
        verdicts = _by_text(batch, mixture, exclusions, benchmarks)
        refused.update((first + row, verdict) for row, verdict in verdicts.items())
        parts.append(batch.select(["id", "subset", "image"]))
    empty = pa.array([], pa.string())
    ids, images, subsets = (
        pa.chunked_array([p.column(n) for p in parts] or [empty]).combine_chunks()
        for n in ("id", "image", "subset")
    )
    keys = np.array(xxh3_keys(mixture.seed, ids.to_pylist()), np.uint64)
    order = np.argsort(keys, kind="stable")
    if refused:
        order = order[~np.isin(order, np.fromiter(refused, np.int64))]
    return Candidates(ids, images, subsets, refused, order)


def _by_text(
    batch: pa.RecordBatch,
    mixture: Mixture,
    exclusions: Sequence[Exclusion],
    benchmarks: Sequence[Benchmarked],
) -> dict[int, Verdict]:
    """{row of the batch: why it goes}, the first reason that applies."""
    verdicts: dict[int, Verdict] = {}
    for exclusion in exclusions:
        for row, signs in excluded(batch, exclusion).items():
            verdicts.setdefault(
                row, Verdict(Reason.EXCLUDED, {"exclusion": exclusion.name, **signs})
            )
    images = batch.column("image").to_pylist()
    for benchmark in benchmarks:
        for row, image in enumerate(images):
            verdict = benchmark_id(image, benchmark.pack)
            if verdict:
                verdicts.setdefault(row, verdict)
    if mixture.exact_repeats == "drop":
        for row, sample in enumerate(batch.column("id").to_pylist()):
            if "~" in sample:
                verdicts.setdefault(row, Verdict(Reason.EXACT_REPEAT, {"of": sample.split("~")[0]}))
    return verdicts


def excluded(batch: pa.RecordBatch, exclusion: Exclusion) -> dict[int, dict[str, bool]]:
    """{row: which of the two signs it bears} of the records that an exclusion means."""
    by_image = pc.fill_null(pc.starts_with(batch.column("image"), exclusion.image_prefix), False)
    first = pc.list_element(batch.column("conversations"), 0)
    by_prompt = pc.match_substring(pc.struct_field(first, "value"), exclusion.prompt)
    either = pc.or_(by_image, by_prompt).to_numpy(zero_copy_only=False)
    return {
        row: {"image_prefix": by_image[row].as_py(), "prompt": by_prompt[row].as_py()}
        for row in np.flatnonzero(either).tolist()
    }


def benchmark_id(image: str | None, pack: Pack) -> Verdict | None:
    """Whether a picture's file name carries an id from the benchmark's own list."""
    if image is None:
        return None
    for found in pack.id_pattern.findall(image.rsplit("/", 1)[-1]):
        if found in pack.ids:
            return Verdict(Reason.BENCHMARK_ID, {"benchmark": pack.name, "id": found})
    return None


def draw(
    offered: Candidates,
    quota: int,
    fingerprints: Fingerprints | None,
    limits: Limits,
    benchmarks: Sequence[Benchmarked],
) -> Drawn:
    """Take Samples in draw order until the quota is full.

    Each round asks for no more pictures than places are left, so exactly the shortest prefix that
    fills the quota is looked at. Without `fingerprints` no picture is looked at (deferred).
    """
    drawn = Drawn({}, {})
    position = 0
    while len(drawn.passed) < quota and position < len(offered.order):
        size = min(quota - len(drawn.passed), _MOST_AT_ONCE)
        rows = offered.order[position : position + size]
        position += len(rows)
        images = offered.images.take(pa.array(rows)).to_pylist()
        seen: dict[str, tuple[Fingerprint, Verdict | None]] = {}
        if fingerprints is not None:
            looks = fingerprints([image for image in images if image is not None])
            verdicts = picture_verdicts(looks, limits, benchmarks)
            seen = {f.image: (f, v) for f, v in zip(looks, verdicts, strict=True)}
        for row, image in zip(rows.tolist(), images, strict=True):
            look, verdict = seen.get(image, (None, None))
            if verdict is None:
                drawn.passed[row] = look
            else:
                drawn.refused[row] = verdict
    return drawn


_BROKEN = {
    "missing": Reason.IMAGE_MISSING,
    "empty": Reason.IMAGE_EMPTY,
    "undecodable": Reason.IMAGE_UNDECODABLE,
    "truncated": Reason.IMAGE_TRUNCATED,
    "too_large": Reason.IMAGE_TOO_LARGE,
}


def picture_verdicts(
    looks: Sequence[Fingerprint], limits: Limits, benchmarks: Sequence[Benchmarked]
) -> list[Verdict | None]:
    """Why each picture's Samples go: it is broken, too small, or a benchmark's."""
    verdicts = [_broken(look, limits) for look in looks]
    for benchmark in benchmarks:
        whole = [n for n, verdict in enumerate(verdicts) if verdict is None]
        alike = _alike([looks[n] for n in whole], benchmark)
        for n, verdict in zip(whole, alike, strict=True):
            verdicts[n] = verdict
    return verdicts


def _broken(look: Fingerprint, limits: Limits) -> Verdict | None:
    if look.status != "ok":
        problem = {"problem": look.problem} if look.problem else {}
        return Verdict(_BROKEN[look.status], {"image": look.image, **problem})
    size = (look.width or 0, look.height or 0)
    if min(size) < limits.min_side_px:
        return Verdict(Reason.IMAGE_TOO_SMALL, {"image": look.image, "size": list(size)})
    return None


def _alike(looks: Sequence[Fingerprint], benchmark: Benchmarked) -> list[Verdict | None]:
    pack, most = benchmark
    stored = np.array([look.phash or 0 for look in looks], np.uint64)
    upright = np.array([look.phash_upright or look.phash or 0 for look in looks], np.uint64)
    near = [nearest(hashes, pack.hashes) for hashes in (stored, upright)]
    verdicts: list[Verdict | None] = []
    for n, look in enumerate(looks):
        evidence: dict[str, Any] = {"benchmark": pack.name, "image": look.image}
        best = min(near, key=lambda found: found.distance_bits[n])
        bits = int(best.distance_bits[n])
        if look.sha256 in pack.sha256s:
            same = {**evidence, "id": pack.sha256s[look.sha256], "sha256": look.sha256}
            verdicts.append(Verdict(Reason.BENCHMARK_BYTES, same))
        elif bits <= most:
            twin = {**evidence, "id": pack.hash_ids[int(best.place[n])], "distance_bits": bits}
            verdicts.append(Verdict(Reason.BENCHMARK_HASH, twin))
        else:
            verdicts.append(None)
    return verdicts


def write_screened(path: Path, offered: Candidates, drawn: Drawn) -> dict[str, Any]:
    """Write screened/<source>.arrow, one row a Sample; returns the figures of the stage."""
    refused = {**offered.refused, **drawn.refused}
    total = len(offered.ids)
    with arrow_writer(path, SCREENED_SCHEMA) as writer:
        for begin in range(0, total, _BATCH_ROWS):
            rows = range(begin, min(begin + _BATCH_ROWS, total))
            writer.write_batch(_screened_batch(rows, offered, refused, drawn.passed))
    subsets = Counter(offered.subsets.take(pa.array(list(drawn.passed), pa.int64())).to_pylist())
    reasons = Counter(verdict.reason.value for verdict in refused.values())
    return {
        "samples": total,
        "passed": len(drawn.passed),
        "dropped": dict(sorted(reasons.items())),
        "held": total - len(drawn.passed) - len(refused),
        "subsets": dict(sorted(subsets.items())),
        "excluded": _signs(offered.refused.values()),
    }


def _signs(verdicts: Any) -> dict[str, dict[str, int]]:
    """Of each exclusion: how many it took, and by how many only one of its two signs was borne."""
    signs: dict[str, dict[str, int]] = {}
    for reason, evidence in verdicts:
        if reason is Reason.EXCLUDED:
            figures = signs.setdefault(evidence["exclusion"], {"records": 0, "disagreeing": 0})
            figures["records"] += 1
            figures["disagreeing"] += evidence["image_prefix"] != evidence["prompt"]
    return signs


def _screened_batch(
    rows: range,
    offered: Candidates,
    refused: dict[int, Verdict],
    passed: dict[int, Fingerprint | None],
) -> pa.RecordBatch:
    verdicts = [refused.get(row) for row in rows]
    looks = [passed.get(row) for row in rows]
    held = [v is None and row not in passed for row, v in zip(rows, verdicts, strict=True)]
    outcomes = [
        Outcome.DROPPED if v else Outcome.HELD if h else Outcome.KEPT
        for v, h in zip(verdicts, held, strict=True)
    ]
    reasons = [
        v.reason if v else Reason.OVER_QUOTA if h else None
        for v, h in zip(verdicts, held, strict=True)
    ]
    columns = [
        pa.array(rows, pa.int32()),
        offered.ids.slice(rows.start, len(rows)),
        pa.array(outcomes, pa.string()),
        pa.array(reasons, pa.string()),
        pa.array([evidence_json(v.evidence) if v else None for v in verdicts], pa.string()),
        pa.array([look.sha256 if look else None for look in looks], pa.string()),
        pa.array([look.width if look else None for look in looks], pa.int32()),
        pa.array([look.height if look else None for look in looks], pa.int32()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCREENED_SCHEMA)
