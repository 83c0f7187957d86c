"""Compare reading a dataset with embedded images with `datasets` doing the same checks.

    python benchmarks/sources.py                     (1 GB of Parquet, with the peer)
    python benchmarks/sources.py --gigabytes 10 --only ours

The input is Parquet as `datasets` writes it: messages, and a JPEG photograph in each row. Ours are
the stages records and images: every record is validated, every image hashed (sha256), decoded, and
fingerprinted with four perceptual hashes. `datasets` loads the same files with `load_dataset` and
does the same in `map`, in as many processes, with imagehash. Memory is the largest sum of the
proportional sizes (PSS) of all processes of a run, sampled every 50 ms.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from fingerprint import photo_like

_ROWS_A_FILE, _ROWS_A_GROUP = 2000, 100
_DISTINCT = 50
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


def write_input(folder: Path, total_bytes: int) -> int:
    """Write Parquet files of about this size; return the number of rows.

    Each image differs from all others in a comment, so that its bytes are decoded anew.
    """
    photos = []
    for seed in range(_DISTINCT):
        out = io.BytesIO()
        photo_like(seed).save(out, "JPEG", quality=92)
        photos.append(out.getvalue())
    metadata = {"huggingface": orjson.dumps({"info": {"features": _FEATURES}})}
    rows = written = number = 0
    while written < total_bytes:
        images = [_comment(photos[n % _DISTINCT], rows + n) for n in range(_ROWS_A_FILE)]
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


def _comment(jpeg: bytes, number: int) -> bytes:
    text = str(number).encode()
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
    begun = time.perf_counter()
    records = build.records("hub")
    images = build.images("hub")
    took = time.perf_counter() - begun
    print(json.dumps({"seconds": took, "rows": records.figures["rows"], **images.figures}))


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


def check_row(row: dict[str, Any]) -> dict[str, Any]:
    """Do what the stages do for one row, with pydantic, hashlib, Pillow and imagehash."""
    import imagehash
    from PIL import Image, ImageOps
    from pydantic import TypeAdapter
    from typing_extensions import TypedDict

    class Message(TypedDict):
        role: str
        content: str

    messages = TypeAdapter(list[Message]).validate_python(row["messages"], strict=True)
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
    begun = time.perf_counter()
    rows = datasets.load_dataset(
        "parquet", data_files=str(files / "*.parquet"), split="train", cache_dir=str(cache)
    ).cast_column("image", datasets.Image(decode=False))
    done = rows.map(check_row, remove_columns=["image"], num_proc=processes)
    took = time.perf_counter() - begun
    print(json.dumps({"seconds": took, "rows": len(done), "datasets": datasets.__version__}))


def measure(arguments: list[str]) -> dict[str, Any]:
    """Run this script with arguments; return what it prints, with its peak memory in MiB."""
    child = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
    )
    peak = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            peak[0] = max(peak[0], _tree_pss(child.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = child.communicate()
    ended.set()
    watcher.join()
    if child.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with status {child.returncode}")
    return {**json.loads(output.splitlines()[-1]), "peak_mib": peak[0] >> 10}


def _tree_pss(pid: int) -> int:
    """Return the KiB of a process and all its descendants."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder else")
    parser.add_argument("--only", choices=("ours", "peer"))
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        which, *paths = options.run
        if which == "ours":
            run_ours(Path(paths[0]))
        else:
            run_peer(Path(paths[0]), Path(paths[1]), len(os.sched_getaffinity(0)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        files, work = Path(folder, "files"), Path(folder, "work")
        files.mkdir()
        rows = write_input(files, int(options.gigabytes * 1e9))
        megabytes = sum(file.stat().st_size for file in files.iterdir()) / 1e6
        result: dict[str, Any] = {"rows": rows, "megabytes": round(megabytes)}
        if options.only != "peer":
            write_manifests(work, files)
            result["ours"] = measure(["--run", "ours", str(work)])
        if options.only != "ours":
            result["peer"] = measure(["--run", "peer", str(files), str(Path(folder, "cache"))])
    for name in ("ours", "peer"):
        if found := result.get(name):
            seconds = found["seconds"]
            print(
                f"{name}: {rows / seconds:,.0f} records/s, {megabytes / seconds:,.1f} MB/s, "
                f"at most {found['peak_mib']:,} MiB"
            )
    if "ours" in result and "peer" in result:
        result["ratio"] = round(result["peer"]["seconds"] / result["ours"]["seconds"], 2)
        print(f"{result['ratio']} times the speed of datasets with imagehash")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
