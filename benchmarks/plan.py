"""Estimate time, cost, bytes and memory of each step for a billion images, as a table.

    python benchmarks/plan.py --machines 20 --cores 16 --store-gb-s 2

Rates are measured in the same run on one core and drawn images, or given on the command line.
Images are as img2dataset keeps LAION's: 256 pixels, 10,000 in a tar of 270 MB
(github.com/rom1504/laion-prepro, laion400m), fetched at 100 million in 20 hours a machine of 16
cores (its own README). The last line is one JSON object.
"""

import argparse
import hashlib
import json
import pickle
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fingerprint import photo_like

from imp_data.images.fingerprint import Fingerprint, fingerprints
from imp_data.images.fingerprint_cache import fingerprint_table, fingerprint_writer
from imp_data.images.hamming import band_radii, index, masks, nearest_within
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits

DRAWN, SIDE_PX, QUALITY = 300, 256, 95
BENCHMARK_HASHES, MAX_BITS, QUERIES = 28_408, 10, 200_000
BATCH = 32
# Kept by one build: hashes of content to tell repeats (8) and names of known images (16).
KEPT_BYTES = 24


class Rates(NamedTuple):
    """Rates per core and second: images, rows, queries, pairs of hashes; and two sizes."""

    fingerprint: float
    gather: float
    match: float
    pairs: float
    row_bytes: float
    worker_bytes: float


class Step(NamedTuple):
    """One line of the plan; `moved` in bytes, `memory` in bytes per process."""

    name: str
    core_hours: float
    hours: float
    moved: float
    memory: str


def main() -> None:
    plan = arguments()
    rates = measured(plan)
    steps = planned(plan, rates)
    print_table(plan, rates, steps)
    figures = {
        "rates": {name: round(value, 1) for name, value in rates._asdict().items()},
        "hours": {step.name: round(step.hours, 2) for step in steps},
        "first_bottleneck": bottleneck(steps).name,
    }
    print(json.dumps(figures))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add: Callable[..., object] = parser.add_argument
    add("--images", type=float, default=1e9)
    add("--machines", type=int, default=20)
    add("--cores", type=int, default=16, help="cores of one machine")
    add("--core-hour", type=float, default=0.04, help="price of a core hour")
    add("--store-gb-s", type=float, default=2.0, help="read rate of the shared store in GB/s")
    add("--builds", type=int, default=100, help="number of builds that share the images")
    add("--builds-at-once", type=int, default=10)
    add("--image-bytes", type=float, default=27_000)
    add("--download-rate", type=float, default=100e6 / 20 / 3600, help="images/s per machine")
    for rate in Rates._fields:
        add(f"--{rate.replace('_', '-')}", type=float, help="use this rate instead of measuring it")
    return parser.parse_args()


def measured(plan: argparse.Namespace) -> Rates:
    """Return each rate as given, or measured on this machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = draw(folder)
        reader, limits = ImageReader(folder, folder, ()), Limits()
        rows: list[Fingerprint] = []
        fingerprints(images[:1], reader, limits)  # libraries are loaded once a worker, not an image
        looking = seconds(lambda: rows.extend(fingerprints(images, reader, limits)))
        worker_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        gathering, row_bytes = gather(rows * 200, folder / "rows.parquet")
    numbers = np.random.default_rng(1)
    references, queries = (
        numbers.integers(0, 1 << 64, count, np.uint64) for count in (BENCHMARK_HASHES, QUERIES)
    )
    found = index(references, MAX_BITS)
    nearest_within(queries[:1000], found)
    matching = seconds(lambda: nearest_within(queries, found))
    block = queries[:1024, None]

    def compare() -> None:
        (np.bitwise_count(block ^ queries[None, :1024]) <= MAX_BITS).sum()

    comparing = min(seconds(compare) for _ in range(20))
    here = Rates(
        len(rows) / looking,
        gathering,
        QUERIES / matching,
        1024**2 / comparing,
        row_bytes,
        worker_bytes,
    )
    given = {n: getattr(plan, n) for n in Rates._fields if getattr(plan, n) is not None}
    return here._replace(**given)


def draw(folder: Path) -> list[str]:
    for number in range(DRAWN):
        image = photo_like(number)
        image.thumbnail((SIDE_PX, SIDE_PX))
        image.save(folder / f"{number}.jpg", quality=QUALITY)
    return [f"{number}.jpg" for number in range(DRAWN)]


def gather(rows: list[Fingerprint], path: Path) -> tuple[float, float]:
    """Return rows per second that one process collects and writes, and bytes per row."""
    named = []
    for n, row in enumerate(rows):
        sha256 = hashlib.sha256(str(n).encode()).hexdigest()  # all differ, so that none compress
        named.append(row._replace(image=f"{n:012d}.jpg", sha256=sha256, phash=int(sha256[:16], 16)))
    sent = [pickle.dumps(named[n : n + BATCH]) for n in range(0, len(named), BATCH)]

    def take() -> None:
        with fingerprint_writer(path) as out:
            for some in range(0, len(sent), 1000):
                batch = [row for piece in sent[some : some + 1000] for row in pickle.loads(piece)]
                out.write_table(fingerprint_table(batch).cast(out.schema))

    fingerprint_table(named[:1])
    return len(named) / seconds(take), path.stat().st_size / len(named)


def seconds(work: Callable[[], object]) -> float:
    """Return CPU time, which does not depend on other load of the machine."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def planned(plan: argparse.Namespace, rates: Rates) -> list[Step]:
    count, cores = plan.images, plan.machines * plan.cores
    shard = count / plan.builds
    size = count * plan.image_bytes

    def on_cores(name: str, a_second: float, moved: float, memory: str) -> Step:
        hours = count / a_second / 3600
        return Step(name, hours, hours / cores, moved, memory)

    download = count / plan.download_rate / plan.machines / 3600
    gathering = count / rates.gather / 3600
    keys = sum(len(masks(radius)) for _, radius in band_radii(MAX_BITS))
    pairs = keys * count**2 / 2 / (1 << 16)
    comparing = pairs / rates.pairs / 3600
    return [
        Step("fetch (img2dataset)", download * cores, download, size, "its own"),
        Step("read from the shared store", 0, size / plan.store_gb_s / 1e9 / 3600, size, ""),
        on_cores(
            "fingerprint", rates.fingerprint, 0, f"{rates.worker_bytes / 1e9:.1f} GB a worker"
        ),
        Step(
            "gather and write, one process a build",
            gathering,
            gathering / min(plan.builds_at_once, plan.builds),
            count * rates.row_bytes,
            f"{KEPT_BYTES * shard / 1e9:.2f} GB kept a build",
        ),
        on_cores("match with a benchmark", rates.match, 8 * count, "0.05 GB a process"),
        Step(
            f"look-alikes among all, {MAX_BITS} bits, all candidate pairs",
            comparing,
            comparing / cores,
            8 * count,
            f"{8 * count / 1e9:.0f} GB of hashes in all",
        ),
    ]


def bottleneck(steps: list[Step]) -> Step:
    """Of a build; images are fetched before, and look-alikes among all are no part of it."""
    return max(steps[1:-1], key=lambda step: step.hours)


def print_table(plan: argparse.Namespace, rates: Rates, steps: list[Step]) -> None:
    print(
        f"{plan.images:,.0f} images on {plan.machines} machines of {plan.cores} cores, "
        f"{plan.builds} builds, {plan.builds_at_once} at a time\n"
        f"one core: {rates.fingerprint:,.0f} fingerprints/s, {rates.match:,.0f} matches/s, "
        f"{rates.pairs / 1e6:,.0f} M pairs/s; one process gathers {rates.gather:,.0f} rows/s\n"
    )
    head = ("step", "core-hours", "hours", "TB moved", "a million images", "memory")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for step in steps:
        price = step.core_hours * plan.core_hour / plan.images * 1e6
        cells = (
            step.name,
            f"{step.core_hours:,.0f}",
            f"{step.hours:,.1f}",
            f"{step.moved / 1e12:,.3g}",
            f"${price:,.3f}",
            step.memory,
        )
        print("| " + " | ".join(cells) + " |")
    print(f"\nOnce the images are there, builds wait first for: {bottleneck(steps).name}.\n")


if __name__ == "__main__":
    main()
