"""Compare exact Hamming search and self-join of 64-bit hashes: ours, all pairs, faiss, numba.

    python benchmarks/match.py                            (about two minutes)
    python benchmarks/match.py --queries 100000 --self-join 100000
    python benchmarks/match.py --references 2500000 --clustered 0.5 --self-join 0

faiss-cpu and numba are not the project's: rows of those not installed are left out. The others have
one thread and a share of the queries; of ours, `--workers` is the number of threads. CPU time
is told beside the clock's. Hashes are random, as those of unrelated photographs nearly are; one
query in twenty is planted near a reference, at every distance up to two bits beyond the limit.
`--clustered` makes a share of both like one of 300 templates, as pages and charts are: 2.5 bits
from it on average, the most frequent template being a sixth of the share.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imp_data.images.clusters import cluster_hashes, find_pairs
from imp_data.images.hamming import Hashes, build_index, find_nearest, find_nearest_within

# The slow ones run on a share of the queries, so few that there are so many pairs, and their time
# is multiplied.
_MOST_PAIRS = 1_500_000_000
_TEMPLATES = 300
_SAMPLE = 20_000
_PIECE = 10_000


def flipped(hashes: Hashes, bits: Any, generator: np.random.Generator) -> Hashes:
    """Flip a number of bits in each hash."""
    order = generator.random((len(hashes), 64)).argsort(axis=1)
    turned = np.where(np.arange(64) < bits[:, None], np.uint64(1) << order.astype(np.uint64), 0)
    return hashes ^ np.bitwise_xor.reduce(turned.astype(np.uint64), axis=1)


def random_hashes(count: int, generator: np.random.Generator) -> Hashes:
    return generator.integers(0, 2**64, count, dtype=np.uint64)


def world(queries: int, references: int, bits: int, clustered: float = 0) -> tuple[Hashes, Hashes]:
    """Return queries and references; every twentieth query is near a reference."""
    generator = np.random.default_rng(3)
    known, asked = random_hashes(references, generator), random_hashes(queries, generator)
    templates, weights = random_hashes(_TEMPLATES, generator), 1 / np.arange(1, _TEMPLATES + 1)
    for some in (known, asked):
        for begin in range(0, len(some), _PIECE):
            piece = some[begin : begin + _PIECE][: round(clustered * _PIECE)]
            which = generator.choice(_TEMPLATES, len(piece), p=weights / weights.sum())
            flips = generator.binomial(64, 0.04, len(piece))
            piece[:] = flipped(templates[which], flips, generator)
        generator.shuffle(some)
    near = generator.integers(0, references, len(asked[::20]))
    distances = generator.integers(0, bits + 3, len(near))
    asked[::20] = flipped(known[near], distances, generator)
    return asked, known


def by_faiss(known: Hashes) -> Callable[[Hashes], Any] | None:
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexBinaryFlat(64)
    flat.add(known.view(np.uint8).reshape(-1, 8))
    return lambda asked: flat.search(asked.view(np.uint8).reshape(-1, 8), 1)[0][:, 0]


def by_numba(known: Hashes) -> Callable[[Hashes], Any] | None:
    try:
        import numba
        from numba.core import types
        from numba.extending import intrinsic
    except ImportError:
        return None

    @intrinsic
    def popcount(_context: Any, value: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            return builder.ctpop(arguments[0])

        return types.uint64(types.uint64), generate

    @numba.njit
    def search(asked: Any, known: Any, out: Any) -> None:
        for n in range(len(asked)):
            least = np.uint64(255)
            for m in range(len(known)):
                # Without a branch, so that the compiler can use vectors.
                least = min(least, popcount(asked[n] ^ known[m]))
            out[n] = least

    def run(asked: Hashes) -> Any:
        out = np.zeros(len(asked), np.uint64)
        search(asked, known, out)
        return out

    run(known[:2])
    return run


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return seconds by the clock and of CPU."""
    cpu = time.process_time()
    took, found = seconds(work)
    return took, time.process_time() - cpu, found


def matched(args: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each search method, and recall against all pairs on a sample."""
    asked, known = world(args.queries, args.references, args.bits, args.clustered)
    some = asked[: max(min(_MOST_PAIRS // len(known), len(asked)), 1)].copy()
    share = len(asked) / len(some)
    ready, made = seconds(lambda: build_index(known, args.bits))
    ways: dict[str, Callable[[], Any]] = {"ours": lambda: find_nearest_within(asked, made)}
    ways["numpy, all pairs"] = lambda: find_nearest(some, known).distance_bits
    for name, make in (("faiss flat", by_faiss), ("numba, all pairs", by_numba)):
        search = make(known)
        if search:
            ways[name] = lambda search=search: search(some)
    times: dict[str, list[float]] = {name: [] for name in ways}
    cpu_times: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for _ in range(args.repeat):
        for name, work in ways.items():
            took, cpu, results[name] = cpu_seconds(work)
            times[name].append(took * (1 if name == "ours" else share))
            cpu_times[name].append(cpu * (1 if name == "ours" else share))
    medians = {name: statistics.median(took) for name, took in times.items()}
    cpus = {name: statistics.median(took) for name, took in cpu_times.items()}
    medians["ours"] += ready
    cpus["ours"] += ready
    for name, found in results.items():
        if name != "ours":
            assert np.array_equal(found, results["numpy, all pairs"]), f"{name} finds otherwise"
    return {
        "queries": len(asked),
        "references": len(known),
        "bits": args.bits,
        "index_seconds": round(ready, 3),
        "seconds": {name: round(took, 2) for name, took in medians.items()},
        "times_as_fast": {n: round(t / medians["ours"], 1) for n, t in medians.items()},
        "cpu_seconds": {name: round(took, 2) for name, took in cpus.items()},
        "times_as_cheap": {n: round(t / cpus["ours"], 1) for n, t in cpus.items()},
        "workers": args.workers,
        "clustered": args.clustered,
        "extrapolated_from": len(some),
        **recalled(asked, known, results["ours"], args.bits),
    }


def recalled(asked: Hashes, known: Hashes, found: Any, bits: int) -> dict[str, Any]:
    """Return the recall of a search, on a sample compared with all pairs."""
    step = max(len(asked) // _SAMPLE, 1)
    sample = slice(None, None, step | 1)  # odd, so that planted and other queries are in it
    every = find_nearest(asked[sample][: max(_MOST_PAIRS // len(known), 1)], known)
    near = every.distance_bits <= bits
    bits_found, place = (column[sample][: len(near)] for column in found)
    same = (bits_found == every.distance_bits) & (place == every.place)
    false = (~near & (bits_found != 255)).sum()
    return {
        "sample": len(near),
        "within": int(near.sum()),
        "recall": float(same[near].mean()) if near.any() else 1.0,
        "false": int(false),
    }


def peak_kib() -> int:
    """Linux's own figure of this program: getrusage's has that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def joined(count: int, bits: int) -> dict[str, Any]:
    """Return seconds and memory of the self-join in its own process, and recall on a sample."""
    command = [sys.executable, __file__, "--only-join", str(count), "--bits", str(bits)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(told.splitlines()[-1])
    return figures


def self_join(count: int, bits: int) -> dict[str, Any]:
    generator = np.random.default_rng(4)
    hashes = random_hashes(count, generator)
    copies = count // 5
    # A fifth are like another image; one image stands under a thousand names.
    for begin in range(0, copies, _PIECE):  # in pieces, so that the peak is that of the join
        piece = slice(begin, min(begin + _PIECE, copies))
        like = hashes[count - copies + piece.start : count - copies + piece.stop]
        hashes[piece] = flipped(like, generator.integers(0, bits + 3, len(like)), generator)
    hashes[: min(1000, copies)] = hashes[-1]
    before = peak_kib()
    took, labels = seconds(lambda: cluster_hashes(hashes, bits))
    peak = peak_kib()
    sample = np.arange(0, count, max(count // 1000, 1))
    near = [np.flatnonzero(np.bitwise_count(hashes ^ hashes[n]) <= bits) for n in sample]
    together = sum(
        int((labels[found] == labels[n]).sum()) for n, found in zip(sample, near, strict=True)
    )
    return {
        "hashes": count,
        "bits": bits,
        "seconds": round(took, 2),
        "clusters_of_several": int((np.bincount(labels) > 1).sum()),
        "peak_mib_before": before >> 10,
        "peak_mib": peak >> 10,
        "sample_pairs": sum(map(len, near)) - len(sample),
        "recall": (together - len(sample)) / (sum(map(len, near)) - len(sample)),
        **pair_recall(hashes, bits),
    }


def pair_recall(hashes: Hashes, bits: int) -> dict[str, Any]:
    """Return found and existing pairs of planted images and their originals."""
    half = min(_SAMPLE // 4, len(hashes) // 10)
    copies = len(hashes) // 5
    some = np.unique(np.concatenate([hashes[:copies][-half:], hashes[-half:]]))
    found = sum(len(part.first) for part in find_pairs(some, bits))
    there = (
        int((np.bitwise_count(some[n] ^ some[n + 1 :]) <= bits).sum()) for n in range(len(some))
    )
    return {"pairs_found": found, "pairs_there": sum(there)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--references", type=int, default=28_408)
    parser.add_argument("--bits", type=int, default=10)
    parser.add_argument("--clustered", type=float, default=0, help="share of both, 0 to 1")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--self-join", type=int, default=1_000_000)
    parser.add_argument(
        "--repeat", type=int, default=3, help="number of interleaved runs; medians are printed"
    )
    parser.add_argument("--only-join", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_join:
        print(json.dumps(self_join(args.only_join, args.bits)))
        return
    os.environ["IMP_WORKERS"] = str(args.workers)
    match = matched(args)
    print(f"{match['queries']:,} queries, {match['references']:,} references, {args.bits} bits")
    for name, took in match["seconds"].items():
        note = "" if name == "ours" else f"  from {match['extrapolated_from']:,} queries"
        cpu = f"{match['cpu_seconds'][name]:9.2f} s of CPU {match['times_as_cheap'][name]:7.1f} x"
        print(f"  {name:18}{took:9.2f} s {match['times_as_fast'][name]:7.1f} x{cpu}{note}")
    print(f"  recall {match['recall']} of {match['within']:,} within, {match['false']} false")
    some_bits = sorted({4, args.bits}) if args.self_join else []
    joins = [joined(args.self_join, bits) for bits in some_bits]
    if joins:
        print(f"self-join of {args.self_join:,}")
    for join in joins:
        print(
            f"  {join['bits']:2} bits {join['seconds']:9.2f} s, peak {join['peak_mib']} MiB "
            f"({join['peak_mib_before']} before), {join['clusters_of_several']:,} clusters, "
            f"recall {join['recall']} of {join['sample_pairs']:,}, "
            f"pairs {join['pairs_found']:,} of {join['pairs_there']:,}"
        )
    print(json.dumps({"match": match, "self_join": joins}))


if __name__ == "__main__":
    main()
