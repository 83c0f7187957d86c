"""The 1M mixture at true size without true content: rows, seconds, rows/s and memory by stage.

    python benchmarks/rehearsal.py --scale 1.0 --folder /tmp/rehearsal

Raw inputs have the published counts and shapes, fingerprints are made up (no picture is drawn or
opened), some pictures look like TextVQA's. The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import scale

from imp_data.benchmarks import PACK_SCHEMA, read_pack
from imp_data.checks import mixture_checks
from imp_data.datadir import DataDir
from imp_data.fingerprints import fingerprint_table, fingerprint_writer, picture_names
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.match import Hashes
from imp_data.manifest import Benchmark, Expect, File, Recipe, load_recipe
from imp_data.pipeline import Build
from imp_data.rebuild import stages
from imp_data.store import arrow_batches, write_stamp

MANIFEST = Path(__file__).parents[1] / "manifests" / "mixtures" / "imp-1m.yaml"
ALLAVA_LAION, ALLAVA_VFLAN = 505_588, 203_065
SHAREGPT4V, LAION = 102_025, 12_356
DVQA_PICTURES, DVQA_QUESTIONS = 200_000, 2_325_316
CHARTQA_HUMAN, CHARTQA_AUGMENTED, CHARTQA_PICTURES = 7_398, 20_901, 18_317
DOCVQA_PICTURES, DOCVQA_QUESTIONS = 10_194, 39_463
INFOGRAPHIC_PICTURES, INFOGRAPHIC_QUESTIONS = 4_406, 23_946
AI2D_PICTURES, AI2D_QUESTIONS = 3_247, 12_413
TEXTVQA_PICTURES = 28_408


def write_raw(raw: Path, size: float) -> None:
    """Every record file of the nine sources and the benchmark."""

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
        raw / "dvqa/train_qa.json", scale.dvqa(part(DVQA_PICTURES), part(DVQA_QUESTIONS))
    )
    charts, prose = part(CHARTQA_PICTURES), scale.Prose(9)
    for name, count in (("human", CHARTQA_HUMAN), ("augmented", CHARTQA_AUGMENTED)):
        rows = (
            {"imgname": f"{n % charts}.png", "query": prose(60), "label": prose(6)}
            for n in range(part(count))
        )
        scale.write_array(raw / f"chartqa/train_{name}.json", rows)
    scale.write_wrapped(
        raw / "docvqa/train.json",
        scale.answered(part(DOCVQA_PICTURES), part(DOCVQA_QUESTIONS), "documents/{}.png", "image"),
    )
    scale.write_wrapped(
        raw / "infographicvqa/train.json",
        scale.answered(
            part(INFOGRAPHIC_PICTURES), part(INFOGRAPHIC_QUESTIONS), "{}.jpeg", "image_local_name"
        ),
    )
    write_ai2d(raw / "ai2d/questions", part(AI2D_PICTURES), part(AI2D_QUESTIONS))
    ids = [{"image_id": f"{n:016x}"} for n in range(part(TEXTVQA_PICTURES))]
    scale.write_wrapped(raw / "textvqa/ids.json", ids)


def write_ai2d(folder: Path, pictures: int, questions: int) -> None:
    """One file a diagram."""
    prose = scale.Prose(10)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(pictures):
        count = questions // pictures + (number < questions % pictures)
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
IDS = File(path="ids.json", by_hand="made up")


def rehearsal_recipe(size: float) -> Recipe:
    """imp-1m.yaml over the made-up files: same layouts, rules and quotas; no picture files."""
    recipe = load_recipe(MANIFEST)
    sources = {
        name: source.model_copy(
            update={"files": (), "records": RECORDS[name], "held_out": None, "expect": Expect()}
        )
        for name, source in recipe.sources.items()
    }
    pictures = {n: p.model_copy(update={"files": ()}) for n, p in recipe.pictures.items()}
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
        mixture=mixture, sources=sources, pictures=pictures, benchmarks={"textvqa": benchmark}
    )


def make_up_fingerprints(build: Build, source: str) -> None:
    """Fingerprints of all pictures a source names, as if an earlier build had looked at them.

    One in 2,000 is within 8 bits of a benchmark picture's, one in 1,000 is missing.
    """
    chance = random.Random(source)
    pack = read_pack(build.recipe.benchmarks["textvqa"], build.data.benchmark("textvqa"))
    seen: set[int] = {0}
    rows: list[Fingerprint] = []
    with fingerprint_writer(build.data.fingerprints(build.name, source)) as out:
        for batch in arrow_batches(build.data.records(source), ["image"]):
            images = batch.column("image").to_pylist()
            for image, name in zip(images, picture_names(images).tolist(), strict=True):
                if name not in seen:
                    seen.add(name)
                    rows.append(made_up(image, name, chance, pack.hashes))
            if len(rows) >= ROW_GROUP:
                out.write_table(fingerprint_table(rows).cast(out.schema))
                rows = []
        out.write_table(fingerprint_table(rows).cast(out.schema))
    looked_at = {"pictures": build.pictures_digest(source)}
    write_stamp(build.stamp(f"images/{source}"), looked_at, "", {})


def made_up(image: str, name: int, chance: random.Random, references: Hashes) -> Fingerprint:
    """One fingerprint, from the picture's name."""
    if chance.random() < 1 / 1000:
        return Fingerprint(image, "missing")
    phash = name
    if len(references) and chance.random() < 1 / 2000:
        phash = int(references[chance.randrange(len(references))])
        for bit in chance.sample(range(64), chance.randrange(8)):
            phash ^= 1 << bit
    sha256 = f"{name:016x}" * 4
    return Fingerprint(image, "ok", 90_000, sha256, "JPEG", "RGB", 640, 480, 1, phash)


def made_up_pack(build: Build) -> None:
    """The benchmark's ids with made-up hashes, as if its pictures had been looked at."""
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


def peaks_mib() -> dict[str, float]:
    """High-water mark of resident memory of this process and each child, in MiB."""
    peaks = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        mine = int(fields["Pid"]) == os.getpid() or _descends(int(fields["PPid"]))
        if mine and "VmHWM" in fields:
            peaks[fields["Pid"]] = int(fields["VmHWM"].split()[0]) / 1024
    return peaks


def _descends(pid: int) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return False
        pid = int(fields[1])
    return False


_COUNTS = ("rows", "samples", "pictures")


def elsewhere(function: Callable[..., None], *inputs: Any) -> None:
    """Call it in a process of its own, so that its memory is not counted."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=inputs)
    workers, os.environ["IMP_WORKERS"] = os.environ["IMP_WORKERS"], "1"
    process.start()
    os.environ["IMP_WORKERS"] = workers
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def rehearse(build: Build) -> dict[str, Any]:
    """Run every stage and print what it took; pictures and the benchmark are made up in between."""
    done: dict[str, Any] = {"rows": 0, "seconds": 0.0, "stages": {}}
    for asset, run in stages(build):
        if asset.startswith("images/"):
            elsewhere(make_up_fingerprints, build, asset.removeprefix("images/"))
        if asset == "benchmarks/textvqa":
            elsewhere(made_up_pack, build)
            continue
        begun = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - begun
        rows = next((result.figures[k] for k in _COUNTS if k in result.figures), 0)
        peak = max(peaks_mib().values())
        # Records to mixture: the report on it is timed, but told apart.
        done["seconds"] += 0 if asset == "neighbours" else seconds
        done["rows"] += rows if asset.startswith("records/") else 0
        done["stages"][asset] = {"rows": rows, "seconds": round(seconds, 2), "mib": round(peak)}
        if not asset.startswith("raw/"):
            rate = f"{rows / seconds:,.0f}/s"
            print(f"{asset:28}{rows:>12,} rows{seconds:9.2f} s{rate:>14}{peak:8.0f} MiB")
        if asset == "mixture":
            done["digest"], done["samples"] = result.figures["digest"], result.figures["rows"]
    done["peak_mib"] = round(max(peaks_mib().values()))
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the true size")
    parser.add_argument("--folder", type=Path, default=Path("data/rehearsal"))
    parser.add_argument("--workers", default="2")
    asked = parser.parse_args()
    os.environ["IMP_WORKERS"] = asked.workers
    data = DataDir(asked.folder / f"{asked.scale}")
    if not data.raw("textvqa").exists():
        begun = time.perf_counter()
        write_raw(data.raw(""), asked.scale)
        print(f"raw inputs written in {time.perf_counter() - begun:.0f} s (not counted)")
    build = Build(rehearsal_recipe(asked.scale), data)
    figures = rehearse(build)
    found = {c.name: c.find().problems for c in mixture_checks(build)}
    begun = time.perf_counter()
    unchanged = [
        asset for asset, run in stages(build) if not asset.startswith("benchmarks/") and run().built
    ]
    figures["unchanged_seconds"] = round(time.perf_counter() - begun, 2)
    seconds, peak = figures["seconds"], figures["peak_mib"]
    again = ", ".join(unchanged) or "nothing"
    print(f"unchanged rebuild: {figures['unchanged_seconds']} s, built again: {again}")
    print(f"checks: {found}")
    print(f"together: {figures['rows']:,} rows in {seconds:.1f} s, {peak} MiB at most")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
