"""Compare reading a dataset with embedded images with `datasets` doing the same checks.

    python benchmarks/sources.py                     (1 GB of Parquet, with the peer)
    python benchmarks/sources.py --gigabytes 10 --only ours --small-images    (memory)

The input is Parquet as `datasets` writes it: messages, and a JPEG photograph in each row. Ours are
the stages records and images: every record is validated, every image hashed (sha256), decoded, and
fingerprinted with a perceptual hash. `datasets` loads the same files with `load_dataset` and
does the same in `map`, in as many processes, with imagehash. Memory is the largest sum of the
proportional sizes (PSS) of all processes of a run, sampled every 50 ms. CPU time is that of all
these processes without their imports: on a machine that does other things at the same time it is
steadier than the clock.

`--small-images` draws images that decode in a tenth of the time, filled by comments to the size of
the others: as many rows and bytes, for a look at memory.

`decoder` is the least that any such program spends: libjpeg-turbo alone reads every coefficient of
the same images at its smallest scale, in one process. The share of our CPU time beside it is what
code can save here.
"""

import argparse
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from fingerprint import photo_like

_ROWS_A_FILE, _ROWS_A_GROUP = 2000, 100
_DISTINCT = 50
_SIZE, _SMALL_SIZE = (640, 480), (160, 120)
_FILLING_BYTES = 65_000
_ENDED = (FileNotFoundError, ProcessLookupError, PermissionError)
_CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_FEATURES = {
    "id": {"dtype": "string", "_type": "Value"},
    "messages": {
        "feature": {
            "role": {"dtype": "string", "_type": "Value"},
            "content": {"dtype": "string", "_type": "Value"},
        },
        "_type": "List",
    },
    "image": {"_type": "Image"},
}


def write_input(folder: Path, total_bytes: int, small: bool = False) -> int:
    """Write Parquet files of about this size; return the number of rows.

    Each image differs from all others in a comment, so that its bytes are decoded anew.
    """
    photos = []
    for seed in range(_DISTINCT):
        out = io.BytesIO()
        photo_like(seed, _SMALL_SIZE if small else _SIZE).save(out, "JPEG", quality=92)
        photos.append(out.getvalue())
    if small:
        filling = random.Random(1).randbytes(_FILLING_BYTES)
        photos = [_comment(photo, filling) for photo in photos]
    metadata = {"huggingface": orjson.dumps({"info": {"features": _FEATURES}})}
    rows = written = number = 0
    while written < total_bytes:
        images = [_comment(photos[n % _DISTINCT], b"%d" % (rows + n)) for n in range(_ROWS_A_FILE)]
        turns = [
            [
                {"role": "user", "content": f"What is shown in image {rows + n}?"},
                {"role": "assistant", "content": f"It is a pattern, the one with number {n}."},
            ]
            for n in range(_ROWS_A_FILE)
        ]
        table = pa.table(
            {
                "id": [f"r{rows + n}" for n in range(_ROWS_A_FILE)],
                "messages": turns,
                "image": pa.array([{"bytes": i, "path": None} for i in images], _CELL),
            }
        ).replace_schema_metadata(metadata)
        file = folder / f"train-{number:05d}.parquet"
        pq.write_table(table, file, row_group_size=_ROWS_A_GROUP)
        rows, number, written = rows + _ROWS_A_FILE, number + 1, written + file.stat().st_size
    return rows


def _comment(jpeg: bytes, text: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def run_ours(work: Path) -> None:
    """Build the stages records and images of a source in `work`."""
    from imp_data.manifests import load_recipe
    from imp_data.pipeline.build import Build
    from imp_data.storage.data_dir import DataDir

    build = Build(
        load_recipe(work / "manifests" / "mixtures" / "bench.yaml"), DataDir(work / "data")
    )
    build.raw("hub")
    begun, cpu = time.perf_counter(), time.process_time()
    records = build.records("hub")
    images = build.images("hub")
    took = time.perf_counter() - begun
    figures = {"rows": records.figures["rows"], **images.figures}
    print(json.dumps({"seconds": took, "cpu_before": cpu, **figures}))


def write_manifests(work: Path, files: Path) -> None:
    """Write the manifests of a mixture with one source, whose raw files are links."""
    stated = {"title": "A benchmark", "homepage": "https://example.org", "license": "CC0-1.0"}
    source = {
        "name": "hub",
        **stated,
        "layout": "messages",
        "records": ["*.parquet"],
        "files": [],
    }
    mixture = {
        "name": "bench",
        "title": "A benchmark",
        "seed": 1,
        "parts": [{"source": "hub", "quota": 10**9, "group": "All"}],
    }
    for kind, name, fields in (("sources", "hub", source), ("mixtures", "bench", mixture)):
        path = work / "manifests" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(fields))
    raw = work / "data" / "raw" / "hub"
    raw.mkdir(parents=True)
    for file in files.glob("*.parquet"):
        os.link(file, raw / file.name)


@cache
def _messages() -> Any:
    from pydantic import TypeAdapter
    from typing_extensions import TypedDict

    class Message(TypedDict):
        role: str
        content: str

    return TypeAdapter(list[Message])


def check_row(row: dict[str, Any]) -> dict[str, Any]:
    """Do what the stages do for one row, with pydantic, hashlib, Pillow and imagehash."""
    import imagehash
    from PIL import Image, ImageOps

    messages = _messages().validate_python(row["messages"], strict=True)
    roles = [one["role"] for one in messages]
    kept = roles == ["user", "assistant"] * (len(roles) // 2) and all(
        one["content"].strip() for one in messages
    )
    data = row["image"]["bytes"]
    image = Image.open(io.BytesIO(data))
    image.load()
    upright = ImageOps.exif_transpose(image)
    hashes = {str(imagehash.phash(image))}
    if upright is not image and upright.size != image.size:
        hashes.add(str(imagehash.phash(upright)))
    return {
        "kept": kept,
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": image.width,
        "height": image.height,
        "phash": sorted(hashes),
    }


def run_peer(files: Path, cache: Path, processes: int) -> None:
    """Load the files with `datasets` and check each row in `map`."""
    import datasets

    datasets.disable_progress_bars()
    begun, cpu = time.perf_counter(), time.process_time()
    rows = datasets.load_dataset(
        "parquet", data_files=str(files / "*.parquet"), split="train", cache_dir=str(cache)
    ).cast_column("image", datasets.Image(decode=False))
    done = rows.map(check_row, remove_columns=["image"], num_proc=processes)
    took = time.perf_counter() - begun
    version = {"datasets": datasets.__version__}
    print(json.dumps({"seconds": took, "cpu_before": cpu, "rows": len(done), **version}))


def run_decoder(files: Path) -> None:
    """Decode the images of the first file by libjpeg-turbo, in grey at its smallest scale."""
    import simplejpeg

    table = pq.read_table(sorted(files.glob("*.parquet"))[0], columns=["image"])
    images = [cell.as_py()["bytes"] for cell in table["image"]]
    begun, cpu = time.perf_counter(), time.process_time()
    for image in images:
        simplejpeg.decode_jpeg(image, "GRAY", min_width=1, min_height=1)
    took = time.perf_counter() - begun
    print(json.dumps({"seconds": took, "cpu_before": cpu, "rows": len(images)}))


def measure(arguments: list[str]) -> dict[str, Any]:
    """Run this script with arguments; return what it prints, with its peak memory and CPU time."""
    child = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
    )
    peak = 0
    cpu: dict[int, float] = {}
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.05):
            sizes = [_usage(pid, cpu) for pid in _descendants(child.pid)]
            peak = max(peak, sum(sizes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = child.communicate()
    ended.set()
    watcher.join()
    if child.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with status {child.returncode}")
    figures = json.loads(output.splitlines()[-1])
    figures["cpu_seconds"] = round(sum(cpu.values()) - figures.pop("cpu_before"), 2)
    return {**figures, "peak_mib": peak >> 10}


def _descendants(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found, waiting = list[int](), [pid]
    while waiting:
        found.append(waiting.pop())
        with suppress(*_ENDED):
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def _usage(pid: int, cpu: dict[int, float]) -> int:
    """Return the KiB of a process, 0 if it has ended; enter its CPU seconds."""
    with suppress(*_ENDED):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def report(result: dict[str, Any]) -> None:
    """Print the figures and enter the ratios; the last line is JSON."""
    rows, megabytes = result["rows"], result["megabytes"]
    cost: dict[str, float] = {}
    for name in ("ours", "peer", "decoder"):
        if found := result.get(name):
            seconds, cost[name] = found["seconds"], found["cpu_seconds"] / found["rows"] * 1e6
            speed = f"{rows / seconds:,.0f} records/s, {megabytes / seconds:,.1f} MB/s, "
            print(
                f"{name}: {'' if name == 'decoder' else speed}{cost[name]:,.0f} us of CPU a "
                f"record, at most {found['peak_mib']:,} MiB"
            )
    if "ours" in cost and "peer" in cost:
        result["ratio"] = round(result["peer"]["seconds"] / result["ours"]["seconds"], 2)
        result["cpu_ratio"] = round(cost["peer"] / cost["ours"], 2)
        result["most_cpu_ratio"] = round(cost["peer"] / cost["decoder"], 2)
        print(
            f"{result['ratio']} times the speed of datasets with imagehash by the clock, "
            f"{result['cpu_ratio']} times by CPU time; the decoder alone would be "
            f"{result['most_cpu_ratio']} times"
        )
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder else")
    parser.add_argument("--only", choices=("ours", "peer"))
    parser.add_argument("--small-images", action="store_true", help="for a look at memory")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        which, *paths = options.run
        if which == "ours":
            run_ours(Path(paths[0]))
        elif which == "decoder":
            run_decoder(Path(paths[0]))
        else:
            run_peer(Path(paths[0]), Path(paths[1]), len(os.sched_getaffinity(0)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        files, work = Path(folder, "files"), Path(folder, "work")
        files.mkdir()
        rows = write_input(files, int(options.gigabytes * 1e9), options.small_images)
        megabytes = sum(file.stat().st_size for file in files.iterdir()) / 1e6
        result: dict[str, Any] = {"rows": rows, "megabytes": round(megabytes)}
        if options.only != "peer":
            write_manifests(work, files)
            result["ours"] = measure(["--run", "ours", str(work)])
        if options.only != "ours":
            result["peer"] = measure(["--run", "peer", str(files), str(Path(folder, "cache"))])
        result["decoder"] = measure(["--run", "decoder", str(files)])
    report(result)


if __name__ == "__main__":
    main()
