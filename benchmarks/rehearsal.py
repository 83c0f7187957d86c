"""Build the 1M mixture at full size with synthetic content; print rows, time, memory by stage.

    python benchmarks/rehearsal.py --scale 1.0 --folder /tmp/rehearsal

Raw inputs have the published counts and shapes, fingerprints are made up (no image is drawn or
opened), some images look like TextVQA's. The last line is one JSON object.

Memory is the most that any process had resident at once, pages of mapped files among it: some 80
MiB of each process are its libraries. TextVQA is no input but what inputs are held against, and so
it is whole at every scale.
"""

import imp_data  # isort: skip # noqa: F401  # before pyarrow, which it tells whom to ask for memory

import argparse
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scale

from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import (
    fingerprint_table,
    fingerprint_writer,
    hash_image_paths,
)
from imp_data.images.hamming import Hashes, build_index, find_nearest_within
from imp_data.ledger import Outcome, Reason
from imp_data.manifests import Benchmark, ExpectedCounts, Recipe, UpstreamFile, load_recipe
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import mixture_checks, records_checks, screened_checks
from imp_data.pipeline.run_all import stages
from imp_data.screening.decontamination.benchmark_index import PACK_SCHEMA, read_benchmark_index
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import xxh3_keys
from imp_data.storage.stage_cache import outputs_digest, write_stamp
from imp_data.storage.tables import read_batches

MANIFEST = Path(__file__).parents[1] / "manifests" / "mixtures" / "imp-1m.yaml"
ALLAVA_LAION, ALLAVA_VFLAN = 505_588, 203_065
SHAREGPT4V, LAION = 102_025, 12_356
DVQA_IMAGES, DVQA_QUESTIONS = 200_000, 2_325_316
CHARTQA_HUMAN, CHARTQA_AUGMENTED, CHARTQA_IMAGES = 7_398, 20_901, 18_317
DOCVQA_IMAGES, DOCVQA_QUESTIONS = 10_194, 39_463
INFOGRAPHIC_IMAGES, INFOGRAPHIC_QUESTIONS = 4_406, 23_946
AI2D_IMAGES, AI2D_QUESTIONS = 3_247, 12_413
TEXTVQA_IMAGES = 28_408
MATCH_BITS, FARTHEST = 10, 2**64 - 1


def write_raw(raw: Path, size: float) -> None:
    """Write every record file of the nine sources and the benchmark."""

    def part(count: int) -> int:
        return max(round(count * size), 1)

    scale.write_array(raw / "llava_665k/llava_v1_5_mix665k.json", scale.mix665k(size))
    scale.write_array(
        raw / "allava_instruct/laion.json",
        scale.captions(
            part(ALLAVA_LAION), 3, "allava_laion_inst_{}", "allava_laion/images/{}.jpeg", (90, 640)
        ),
    )
    vflan = "allava_vflan/images/images_191task_1k/VQA-E+visual_question_answering_{}_x.jpg"
    scale.write_array(
        raw / "allava_instruct/vflan.json",
        scale.captions(part(ALLAVA_VFLAN), 4, "allava_vflan_inst_{}", vflan, (160, 640)),
    )
    scale.write_array(
        raw / "sharegpt4v/cap100k.json",
        scale.captions(part(SHAREGPT4V), 8, "{:012d}", "coco/train2017/{:012d}.jpg", (40, 900)),
    )
    scale.write_laion(raw / "laion_gpt4v/train.parquet", part(LAION))
    scale.write_array(
        raw / "dvqa/train_qa.json", scale.dvqa(part(DVQA_IMAGES), part(DVQA_QUESTIONS))
    )
    charts, prose = part(CHARTQA_IMAGES), scale.Prose(9)
    for name, count in (("human", CHARTQA_HUMAN), ("augmented", CHARTQA_AUGMENTED)):
        rows = (
            {"imgname": f"{n % charts}.png", "query": prose(60), "label": prose(6)}
            for n in range(part(count))
        )
        scale.write_array(raw / f"chartqa/train_{name}.json", rows)
    scale.write_wrapped(
        raw / "docvqa/train.json",
        scale.answered(part(DOCVQA_IMAGES), part(DOCVQA_QUESTIONS), "documents/{}.png", "image"),
    )
    scale.write_wrapped(
        raw / "infographicvqa/train.json",
        scale.answered(
            part(INFOGRAPHIC_IMAGES), part(INFOGRAPHIC_QUESTIONS), "{}.jpeg", "image_local_name"
        ),
    )
    write_ai2d(raw / "ai2d/questions", part(AI2D_IMAGES), part(AI2D_QUESTIONS))
    ids = [{"image_id": f"{n:016x}"} for n in range(TEXTVQA_IMAGES)]
    scale.write_wrapped(raw / "textvqa/ids.json", ids)


def write_ai2d(folder: Path, images: int, questions: int) -> None:
    """Write one file per diagram."""
    prose = scale.Prose(10)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        count = questions // images + (number < questions % images)
        asked = {
            f"{prose(40)} {k}": {
                "abcLabel": k % 2 == 0,
                "answerTexts": [f"{prose(8)} {o}" for o in range(4)],
                "correctAnswer": k % 4,
                "questionId": f"{number}.png-{k}",
            }
            for k in range(count)
        }
        text = json.dumps({"imageName": f"{number}.png", "questions": asked})
        (folder / f"{number}.png.json").write_text(text)


RECORDS = {
    "llava_665k": ("llava_v1_5_mix665k.json",),
    "allava_instruct": ("laion.json", "vflan.json"),
    "sharegpt4v": ("cap100k.json",),
    "laion_gpt4v": ("train.parquet",),
    "dvqa": ("train_qa.json",),
    "chartqa": ("train_human.json", "train_augmented.json"),
    "docvqa": ("train.json",),
    "infographicvqa": ("train.json",),
    "ai2d": ("questions/*.json",),
}


ROW_GROUP = 1 << 15
IDS = UpstreamFile(path="ids.json", by_hand="made up")


def rehearsal_recipe(size: float) -> Recipe:
    """Return imp-1m.yaml for the synthetic files: equal layouts, rules, quotas; no image files."""
    recipe = load_recipe(MANIFEST)
    sources = {
        name: source.model_copy(
            update={
                "files": (),
                "records": RECORDS[name],
                "held_out": None,
                "expect": composition(size) if name == "llava_665k" else ExpectedCounts(),
            }
        )
        for name, source in recipe.sources.items()
    }
    images = {n: p.model_copy(update={"files": (), "urls": None}) for n, p in recipe.images.items()}
    benchmark: Benchmark = recipe.benchmarks["textvqa"].model_copy(
        update={"files": (IDS,), "id_files": (IDS.path,), "expect_ids": None}
    )
    parts = tuple(
        part.model_copy(update={"quota": max(round(part.quota * size), 1)})
        for part in recipe.mixture.parts
    )
    exclusions = tuple(
        e.model_copy(update={"expect": round(21_953 * size)}) for e in recipe.mixture.exclusions
    )
    mixture = recipe.mixture.model_copy(
        update={"name": "rehearsal", "parts": parts, "exclusions": exclusions}
    )
    return Recipe(
        mixture=mixture, sources=sources, images=images, benchmarks={"textvqa": benchmark}
    )


def composition(size: float) -> ExpectedCounts:
    """Return the number of records per sub-source; at full size, as published."""
    published = load_recipe(MANIFEST).sources["llava_665k"].expect
    subsets = {name: round(count * size) for name, count in published.subsets.items()}
    return ExpectedCounts(rows=sum(subsets.values()), subsets=subsets)


def make_up_fingerprints(build: Build, source: str) -> None:
    """Write fingerprints of all images of a source, as an earlier build leaves them.

    In draw order, as a build writes them. One in 2,000 is within 8 bits of a benchmark image's,
    one in 1,000 is missing; of LLaVA's none, for its quota is all that is left without TextCaps.
    """
    faults = source != "llava_665k"
    chance = random.Random(source)
    pack = read_benchmark_index(build.recipe.benchmarks["textvqa"], build.data.benchmark("textvqa"))
    rows: dict[int, Fingerprint] = {}
    names: list[int] = []
    keys: list[int] = []
    for batch in read_batches(build.data.records(source), ["id", "image"]):
        images = batch.column("image").to_pylist()
        names += hash_image_paths(images).tolist()
        keys += xxh3_keys(build.recipe.mixture.seed, batch.column("id").to_pylist())
        for image, name in zip(images, names[-len(images) :], strict=True):
            if image is not None and name not in rows:
                rows[name] = made_up(image, name, faults, chance, pack.hashes)
    if not faults:
        unlike(rows, pack.hashes)
    drawn = (rows.pop(names[row], None) for row in sorted(range(len(keys)), key=keys.__getitem__))
    made = filter(None, drawn)
    path = build.data.fingerprints(build.name, source)
    with fingerprint_writer(path) as out:
        while some := list(islice(made, ROW_GROUP)):
            out.write_table(fingerprint_table(some).cast(out.schema))
    looked_at = {"images": build.images_digest(source)}
    write_stamp(build.stamp(f"images/{source}"), looked_at, outputs_digest([path]), {})


def unlike(rows: dict[int, Fingerprint], references: Hashes) -> None:
    """Replace the hashes of images that are near a reference by accident."""
    hashes = np.array([row.phash for row in rows.values()], np.uint64)
    near = (
        find_nearest_within(hashes, build_index(references, MATCH_BITS)).distance_bits <= MATCH_BITS
    )
    for name in np.array(list(rows), np.uint64)[near].tolist():
        rows[name] = rows[name]._replace(phash=(rows[name].phash or 0) ^ FARTHEST)


def made_up(
    image: str, name: int, faults: bool, chance: random.Random, references: Hashes
) -> Fingerprint:
    """Return a fingerprint derived from the image's name."""
    if faults and chance.random() < 1 / 1000:
        return Fingerprint(image, "missing")
    phash = name
    if faults and chance.random() < 1 / 2000:
        phash = int(references[chance.randrange(len(references))])
        for bit in chance.sample(range(64), chance.randrange(8)):
            phash ^= 1 << bit
    sha256 = f"{name:016x}" * 4
    return Fingerprint(image, "ok", 90_000, sha256, "JPEG", "RGB", 640, 480, 1, phash)


def made_up_pack(build: Build) -> None:
    """Write the benchmark's ids with synthetic hashes, in place of its images."""
    path = build.data.benchmark("textvqa")
    build.benchmark("textvqa")
    ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
    chance = random.Random("textvqa")
    hashes = (chance.getrandbits(64) for _ in ids)
    rows = [
        Fingerprint(f"textvqa/{i}.jpg", "ok", 9, i * 4, "JPEG", "RGB", 640, 480, 1, phash)
        for i, phash in zip(ids, hashes, strict=True)
    ]
    table = fingerprint_table(rows).add_column(0, "id", pa.array(ids, pa.string()))
    with fingerprint_writer(path, PACK_SCHEMA) as out:
        out.write_table(table.cast(out.schema))


def peak_mib() -> float:
    """Return the peak resident memory of this process or a child since `reset_peaks`."""
    peak = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        if _descends(int(fields["Pid"])) and "VmHWM" in fields:
            peak = max(peak, int(fields["VmHWM"].split()[0]) / 1024)
    return peak


def reset_peaks() -> None:
    """Reset the kernel's high-water mark of each process."""
    for folder in Path("/proc").glob("[0-9]*"):
        if _descends(int(folder.name)):
            with suppress(OSError):
                (folder / "clear_refs").write_text("5")


def cpu_seconds() -> float:
    """Return the CPU time of this process and its living children."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        if _descends(pid):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _descends(pid: int) -> bool:
    """Return whether it is this process or a descendant."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return False
        pid = int(fields[1])
    return False


_COUNTS = ("rows", "samples", "images")


def elsewhere(function: Callable[..., None], *inputs: Any) -> None:
    """Call a function in its own process, so that its memory is not counted."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=inputs)
    workers, os.environ["IMP_WORKERS"] = os.environ["IMP_WORKERS"], "1"
    process.start()
    os.environ["IMP_WORKERS"] = workers
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def rehearse(build: Build) -> dict[str, Any]:
    """Run every stage and print its cost, with synthetic images and benchmark."""
    done: dict[str, Any] = {"rows": 0, "seconds": 0.0, "cpu_seconds": 0.0, "stages": {}}
    for asset, run in stages(build):
        if asset.startswith("images/"):
            elsewhere(make_up_fingerprints, build, asset.removeprefix("images/"))
        if asset == "benchmarks/textvqa":
            elsewhere(made_up_pack, build)
            continue
        reset_peaks()
        begun, cpu = time.perf_counter(), cpu_seconds()
        result = run()
        seconds, cpu = time.perf_counter() - begun, cpu_seconds() - cpu
        rows = next((result.figures[k] for k in _COUNTS if k in result.figures), 0)
        done["rows"] += rows if asset.startswith("records/") else 0
        _tell(done, asset, rows, seconds, cpu)
        if asset == "mixture":
            done["digest"], done["samples"] = result.figures["digest"], result.figures["rows"]
            reset_peaks()
            begun, cpu = time.perf_counter(), cpu_seconds()
            done["problems"] = problems_of(build)
            seconds, cpu = time.perf_counter() - begun, cpu_seconds() - cpu
            _tell(done, "checks", done["samples"], seconds, cpu)
    done["peak_mib"] = max(told["mib"] for told in done["stages"].values())
    return done


def problems_of(build: Build) -> list[str]:
    """Return the problems that the checks of records, screening and mixture find."""
    checks = [("mixture", check) for check in mixture_checks(build)]
    for source in build.recipe.sources:
        checks += [(f"records/{source}", check) for check in records_checks(build, source)]
        checks += [(f"screened/{source}", check) for check in screened_checks(build, source)]
    found = [f"{asset}: {problem}" for asset, c in checks for problem in c.find().problems]
    print(f"{len(checks)} checks hold" if not found else "\n".join(found))
    return found


def shape_of_mix(build: Build) -> dict[str, float]:
    """Return the file size of LLaVA's mix, and its mean and maximum exchanges per record."""
    lengths = [
        pc.list_value_length(batch.column("conversations")).to_numpy()
        for batch in read_batches(build.data.records("llava_665k"), ["conversations"])
    ]
    exchanges = np.concatenate(lengths) / 2
    (file,) = build.data.raw("llava_665k").glob("*.json")
    return {
        "bytes": file.stat().st_size,
        "mean": round(float(exchanges.mean()), 2),
        "most": int(exchanges.max()),
    }


def _tell(done: dict[str, Any], asset: str, rows: int, seconds: float, cpu: float) -> None:
    peak = peak_mib()
    if asset != "duplicates":  # records to mixture: the report on it is timed, but told apart
        done["seconds"] += seconds
        done["cpu_seconds"] += cpu
    told = {"rows": rows, "seconds": round(seconds, 2), "cpu": round(cpu, 2), "mib": round(peak)}
    done["stages"][asset] = told
    if not asset.startswith("raw/"):
        rate = f"{rows / seconds:,.0f}/s"
        print(f"{asset:28}{rows:>12,} rows{seconds:9.2f} s{cpu:8.2f} CPU{rate:>14}{peak:8.0f} MiB")


def rebuilt(build: Build) -> tuple[list[str], float]:
    """Return the stages that a rebuild repeats, and its seconds."""
    begun = time.perf_counter()
    runs = (pair for pair in stages(build) if not pair[0].startswith("benchmarks/"))
    again = [asset for asset, run in runs if run().built]
    return again, round(time.perf_counter() - begun, 2)


def with_one_source_changed(build: Build) -> Build:
    """Return the same build without ChartQA's subsets."""
    recipe = build.recipe
    changed = recipe.sources["chartqa"].model_copy(update={"subsets": "none"})
    sources = {**recipe.sources, "chartqa": changed}
    return Build(recipe.model_copy(update={"sources": sources}), build.data)


def images_opened(build: Build) -> tuple[int, int]:
    """Return the number of image references that sampling reached, and of all."""
    reached = total = 0
    for source in build.recipe.sources:
        records = read_batches(build.data.records(source), ["image"])
        screened = read_batches(build.data.screened(build.name, source), ["outcome", "reason"])
        for record, fate in zip(records, screened, strict=True):
            shown = pc.is_valid(record.column("image"))
            looked_at = pc.or_(
                pc.equal(fate.column("outcome"), Outcome.KEPT),
                pc.is_in(fate.column("reason"), pa.array(SEEN, pa.string())),
            )
            total += pc.sum(shown).as_py()
            reached += pc.sum(pc.and_(shown, looked_at)).as_py()
    return reached, total


# Reasons that are known once an image has been opened.
SEEN = [r.value for r in Reason if r.name.startswith("IMAGE_")] + [
    "benchmark_bytes",
    "benchmark_hash",
    "near_duplicate",
]


def smaller_run(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of the rehearsal at the smaller scale, in its own process."""
    options = ["--scale", str(asked.against), "--folder", str(asked.folder), "--against", "0"]
    command = [sys.executable, __file__, *options, "--workers", asked.workers]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(told.splitlines()[-1])
    return figures


def compare_memory(figures: dict[str, Any], smaller: dict[str, Any]) -> None:
    """Print whether memory is independent of the scale, in total and by stage."""
    rows = figures["rows"] - smaller["rows"]
    added = figures["peak_mib"] - smaller["peak_mib"]
    growth = added / smaller["peak_mib"]
    beyond = (added - EXACT_BYTES * rows / 2**20) / smaller["peak_mib"]
    figures |= {"peak_growth": round(growth, 3), "peak_growth_beyond_exact": round(beyond, 3)}
    print(
        f"memory: {smaller['peak_mib']} MiB at {smaller['rows']:,} rows, {figures['peak_mib']} MiB "
        f"at {figures['rows']:,}: {growth:+.0%}, {added * 2**20 / rows:.0f} bytes a row; beyond "
        f"{EXACT_BYTES} bytes a row for ids and repeats {beyond:+.0%}, "
        f"{'bounded' if beyond <= MOST_GROWTH else 'NOT BOUNDED'} ({MOST_GROWTH:.0%} allowed)"
    )
    for asset, told in figures["stages"].items():
        before = smaller["stages"][asset]["mib"]
        if told["mib"] / before - 1 > MOST_GROWTH:
            print(f"  {asset:26}{before:6} to {told['mib']:4} MiB")


MOST_GROWTH = 0.2
# Two records with one id, or two exchanges that are the same, may stand anywhere: to find each such
# pair takes a number of each.
EXACT_BYTES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the true size")
    parser.add_argument("--folder", type=Path, default=Path("data/rehearsal"))
    parser.add_argument("--workers", default="2")
    parser.add_argument("--against", type=float, default=0.1, help="compare memory with this scale")
    asked = parser.parse_args()
    os.environ["IMP_WORKERS"] = asked.workers
    smaller = smaller_run(asked) if 0 < asked.against < asked.scale else None
    data = DataDir(asked.folder / f"{asked.scale}")
    if not data.raw("textvqa").exists():
        begun = time.perf_counter()
        write_raw(data.raw(""), asked.scale)
        print(f"raw inputs written in {time.perf_counter() - begun:.0f} s (not counted)")
    for left in set(data.root.iterdir()) - {data.raw("")}:
        shutil.rmtree(left)
    build = Build(rehearsal_recipe(asked.scale), data)
    figures = rehearse(build)
    print(
        f"together: {figures['rows']:,} rows in {figures['seconds']:.1f} s, "
        f"{figures['cpu_seconds']:.1f} s of CPU, {figures['peak_mib']} MiB at most in any process"
    )
    mix = figures["mix665k"] = shape_of_mix(build)
    print(
        f"mix665k: {mix['bytes']:,} bytes, {mix['mean']} exchanges a record, at most {mix['most']}"
    )
    figures["images_opened"], figures["images"] = images_opened(build)
    print(f"images: {figures['images_opened']:,} of {figures['images']:,} references opened")
    for what, again in (
        ("unchanged", build),
        ("one source changed", with_one_source_changed(build)),
    ):
        names, seconds = rebuilt(again)
        figures[f"{what.replace(' ', '_')}_seconds"] = seconds
        print(f"{what}: {seconds} s, built again: {', '.join(names) or 'nothing'}")
    if smaller is not None:
        compare_memory(figures, smaller)
    print(json.dumps(figures))
    if figures["problems"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
