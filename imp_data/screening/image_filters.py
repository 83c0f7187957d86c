"""Refuse images that are broken, too small, a benchmark's, or excluded by a rule."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.images.hamming import Index, Nearest, build_index, find_nearest_within, no_neighbours
from imp_data.images.image_hashes import hash_entries, read_hashes
from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Limits
from imp_data.screening.decontamination.benchmark_index import BenchmarkIndex
from imp_data.screening.exclusion_rules import PreparedRule
from imp_data.screening.image_rules import image_rule_verdicts

_BROKEN = {
    "missing": Reason.IMAGE_MISSING,
    "ambiguous": Reason.IMAGE_AMBIGUOUS,
    "empty": Reason.IMAGE_EMPTY,
    "undecodable": Reason.IMAGE_UNDECODABLE,
    "truncated": Reason.IMAGE_TRUNCATED,
    "too_large": Reason.IMAGE_TOO_LARGE,
}


class BenchmarkMatcher(NamedTuple):
    """A benchmark's pack, its hashes indexed for the distance within which images match."""

    pack: BenchmarkIndex
    near: Index


def prepare_matcher(pack: BenchmarkIndex, max_distance_bits: int) -> BenchmarkMatcher:
    """Index the pack of a benchmark whose images are removed."""
    return BenchmarkMatcher(pack, build_index(pack.hashes, max_distance_bits))


def image_verdicts(
    fingerprints: pa.Table,
    limits: Limits,
    benchmarks: Sequence[BenchmarkMatcher],
    rules: Sequence[PreparedRule] = (),
    url_failures: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> dict[int, Verdict]:
    """Return {row: verdict} for the refused rows of a table of fingerprints.

    `url_failures` is evidence by image: why a missing image could not be downloaded.
    """
    verdicts = _unusable(fingerprints, limits)
    for row, (reason, evidence) in verdicts.items():
        if reason == Reason.IMAGE_MISSING and (why := url_failures.get(evidence["image"])):
            verdicts[row] = Verdict(reason, {**evidence, **why})
    for benchmark in benchmarks:
        whole = np.setdiff1d(np.arange(fingerprints.num_rows), np.fromiter(verdicts, np.int64))
        matches = _benchmark_matches(fingerprints.take(pa.array(whole)), benchmark)
        verdicts.update((int(whole[row]), verdict) for row, verdict in matches.items())
    if rules:
        whole = np.setdiff1d(np.arange(fingerprints.num_rows), np.fromiter(verdicts, np.int64))
        found = image_rule_verdicts(fingerprints.take(pa.array(whole)), rules)
        verdicts.update((int(whole[row]), verdict) for row, verdict in found.items())
    return verdicts


def _unusable(fingerprints: pa.Table, limits: Limits) -> dict[int, Verdict]:
    side = pc.min_element_wise(fingerprints["width"], fingerprints["height"])
    small = pc.fill_null(pc.less(side, limits.min_side_px), False)
    suspect = pc.or_(pc.not_equal(fingerprints["status"], "ok"), small)
    rows = np.flatnonzero(suspect.to_numpy())
    return {
        row: _unusable_verdict(fingerprint)
        for row, fingerprint in zip(
            rows.tolist(), fingerprints.take(pa.array(rows)).to_pylist(), strict=True
        )
    }


def _unusable_verdict(fingerprint: dict[str, Any]) -> Verdict:
    if fingerprint["status"] != "ok":
        problem = {"problem": fingerprint["problem"]} if fingerprint["problem"] else {}
        return Verdict(_BROKEN[fingerprint["status"]], {"image": fingerprint["image"], **problem})
    size = [fingerprint["width"], fingerprint["height"]]
    return Verdict(Reason.IMAGE_TOO_SMALL, {"image": fingerprint["image"], "size": size})


def _benchmark_matches(fingerprints: pa.Table, benchmark: BenchmarkMatcher) -> dict[int, Verdict]:
    pack = benchmark.pack
    distance, place = _nearest(fingerprints, benchmark.near)
    same = pc.is_in(fingerprints["sha256"], pa.array(list(pack.sha256s), pa.string())).to_numpy()
    verdicts: dict[int, Verdict] = {}
    for row in np.flatnonzero(same | (distance <= benchmark.near.max_bits)).tolist():
        fingerprint = fingerprints.slice(row, 1).to_pylist()[0]
        evidence: dict[str, Any] = {"benchmark": pack.name, "image": fingerprint["image"]}
        if same[row]:
            sha256 = fingerprint["sha256"]
            evidence = {**evidence, "id": pack.sha256s[sha256], "sha256": sha256}
            verdicts[row] = Verdict(Reason.BENCHMARK_BYTES, evidence)
        else:
            known = pack.hash_ids[int(place[row])]
            evidence = {**evidence, "id": known, "distance_bits": int(distance[row])}
            verdicts[row] = Verdict(Reason.BENCHMARK_HASH, evidence)
    return verdicts


def _nearest(fingerprints: pa.Table, references: Index) -> Nearest:
    """Return the nearest reference to either hash of each image; the stored one wins a tie."""
    nearest = no_neighbours(fingerprints.num_rows)
    hashes, rows = hash_entries(read_hashes(fingerprints))
    found = find_nearest_within(hashes, references)
    order = np.lexsort((found.distance_bits, rows))
    hashed, first = np.unique(rows[order], return_index=True)
    best = order[first]
    nearest.distance_bits[hashed] = found.distance_bits[best]
    nearest.place[hashed] = found.place[best]
    return nearest
