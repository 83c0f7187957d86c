"""Why an image's Samples go: it is broken, too small, or a benchmark's."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.images.hamming import Index, Nearest, index, nearest_within, nothing_near
from imp_data.images.image_hashes import hash_entries, read_hashes
from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Limits
from imp_data.screening.decontamination.benchmark_index import BenchmarkIndex

_BROKEN = {
    "missing": Reason.IMAGE_MISSING,
    "ambiguous": Reason.IMAGE_AMBIGUOUS,
    "empty": Reason.IMAGE_EMPTY,
    "undecodable": Reason.IMAGE_UNDECODABLE,
    "truncated": Reason.IMAGE_TRUNCATED,
    "too_large": Reason.IMAGE_TOO_LARGE,
}


class Benchmarked(NamedTuple):
    """A benchmark's pack, its hashes made ready for the distance up to which images match."""

    pack: BenchmarkIndex
    near: Index


def benchmarked(pack: BenchmarkIndex, max_distance_bits: int) -> Benchmarked:
    """The pack of a benchmark that is to be kept out."""
    return Benchmarked(pack, index(pack.hashes, max_distance_bits))


def image_verdicts(
    looks: pa.Table, limits: Limits, benchmarks: Sequence[Benchmarked]
) -> dict[int, Verdict]:
    """{row: why its Samples go} of a table of fingerprints; a row that is fine is left out."""
    verdicts = _broken(looks, limits)
    for benchmark in benchmarks:
        whole = np.setdiff1d(np.arange(looks.num_rows), np.fromiter(verdicts, np.int64))
        alike = _alike(looks.take(pa.array(whole)), benchmark)
        verdicts.update((int(whole[row]), verdict) for row, verdict in alike.items())
    return verdicts


def _broken(looks: pa.Table, limits: Limits) -> dict[int, Verdict]:
    side = pc.min_element_wise(looks["width"], looks["height"])
    small = pc.fill_null(pc.less(side, limits.min_side_px), False)
    suspect = pc.or_(pc.not_equal(looks["status"], "ok"), small)
    rows = np.flatnonzero(suspect.to_numpy())
    return {
        row: _broken_verdict(look)
        for row, look in zip(rows.tolist(), looks.take(pa.array(rows)).to_pylist(), strict=True)
    }


def _broken_verdict(look: dict[str, Any]) -> Verdict:
    if look["status"] != "ok":
        problem = {"problem": look["problem"]} if look["problem"] else {}
        return Verdict(_BROKEN[look["status"]], {"image": look["image"], **problem})
    size = [look["width"], look["height"]]
    return Verdict(Reason.IMAGE_TOO_SMALL, {"image": look["image"], "size": size})


def _alike(looks: pa.Table, benchmark: Benchmarked) -> dict[int, Verdict]:
    pack = benchmark.pack
    distance, place = _nearest(looks, benchmark.near)
    same = pc.is_in(looks["sha256"], pa.array(list(pack.sha256s), pa.string())).to_numpy()
    verdicts: dict[int, Verdict] = {}
    for row in np.flatnonzero(same | (distance <= benchmark.near.max_bits)).tolist():
        look = looks.slice(row, 1).to_pylist()[0]
        evidence: dict[str, Any] = {"benchmark": pack.name, "image": look["image"]}
        if same[row]:
            sha256 = look["sha256"]
            twin = {**evidence, "id": pack.sha256s[sha256], "sha256": sha256}
            verdicts[row] = Verdict(Reason.BENCHMARK_BYTES, twin)
        else:
            known = pack.hash_ids[int(place[row])]
            twin = {**evidence, "id": known, "distance_bits": int(distance[row])}
            verdicts[row] = Verdict(Reason.BENCHMARK_HASH, twin)
    return verdicts


def _nearest(looks: pa.Table, references: Index) -> Nearest:
    """Return the nearest reference to either hash of each image; the stored one wins a tie."""
    nearest = nothing_near(looks.num_rows)
    hashes, rows = hash_entries(read_hashes(looks))
    found = nearest_within(hashes, references)
    order = np.lexsort((found.distance_bits, rows))
    hashed, first = np.unique(rows[order], return_index=True)
    best = order[first]
    nearest.distance_bits[hashed] = found.distance_bits[best]
    nearest.place[hashed] = found.place[best]
    return nearest
