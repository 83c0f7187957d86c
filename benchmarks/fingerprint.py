"""Compare images per second of our whole pass (sha256, status, size, hashes) with bare hashing.

    python -m venv /tmp/daft && /tmp/daft/bin/pip install daft numpy
    pip install imagededup
    python benchmarks/fingerprint.py --daft-python /tmp/daft/bin/python    (about six minutes)
    python benchmarks/fingerprint.py --real FOLDER        (also: bits on the JPEGs of a folder)

Compared on the same JPEGs in as many processes (Daft, which has threads, on as many cores):
imagehash on a full decode, imagededup's encoder, Daft's image_hash. What is not installed is left
out. Daft has an interpreter of its own because it asks for an older pyarrow than this project's.
`engine` is our pass as a build runs it, its rows sent back by the engine's processes; `ours` the
same pass in the pool in which the others are timed. CPU time is told beside the clock's, because
on a machine that does other things at the same time it is the steadier of the two.
"""

import argparse
import importlib
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import imagehash
import numpy as np
from PIL import Image

from imp_data.images import decoding
from imp_data.images import fingerprint as ours
from imp_data.images.fingerprint_cache import fingerprints_of
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits

_CHUNK = 100  # so large that what the pool itself does counts for little
_SIDES_PX = (10_000, 240, 120, 96, 60, 32)
_SAMPLE = 300

_DAFT = """
import json, os, sys, time
cores, paths = int(sys.argv[1]), json.load(sys.stdin)
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import daft
from daft.functions import decode_image, download, image_hash
def hashes(some):
    frame = daft.from_pydict({"path": some})
    image = decode_image(download(frame["path"]))
    return frame.select(image_hash(image, method="phash").alias("hash")).to_pydict()["hash"]
hashes(paths[:20])
begun, cpu = time.perf_counter(), time.process_time()
found = hashes(paths)
took = [time.perf_counter() - begun, time.process_time() - cpu]
print(json.dumps([*took, [bytes(h).hex() for h in found], daft.__version__]))
"""


def photo_like(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Draw noise of all scales, weaker at finer scales as in photographs, with grain."""
    generator = np.random.default_rng(seed)
    width, height = size
    field = np.full((height, width, 3), 120, np.float32)
    for octave in range(7):
        columns = 2 ** (octave + 2)
        coarse = generator.normal(size=(max(columns * height // width, 2), columns, 3))
        coarse = (coarse * 0.35 + coarse.mean(axis=2, keepdims=True)).astype(np.float32)
        for band in range(3):
            layer = Image.fromarray(coarse[..., band]).resize(size, Image.Resampling.BICUBIC)
            field[..., band] += np.asarray(layer) * (60 * 0.62**octave)
    field += generator.normal(size=(height, width, 1)) * 2.5
    return Image.fromarray(field.clip(0, 255).astype(np.uint8))


def _draw(number: int, folder: Path) -> None:
    photo_like(number).save(folder / f"{number:05d}.jpg", quality=85)


def with_ours(paths: Sequence[str], side: int | None = None) -> list[int]:
    decoding._DECODED_SIDE_PX = side or decoding._DECODED_SIDE_PX
    folder = Path(paths[0]).parent
    reader, limits = ImageReader(folder, folder, ()), Limits()
    found = ours.fingerprints([os.path.basename(path) for path in paths], reader, limits)
    assert all(one.status == "ok" for one in found)
    return [one.phash or 0 for one in found]


def with_imagehash(paths: Sequence[str]) -> list[int]:
    return [_full_hash(path) for path in paths]


def _full_hash(file: Any) -> int:
    with Image.open(file) as image:
        return int(str(imagehash.phash(image)), 16)


def with_imagededup(paths: Sequence[str]) -> list[int]:
    encoder = _imagededup()(verbose=False)
    return [int(encoder.encode_image(image_file=path), 16) for path in paths]


def _imagededup() -> Any:
    """Return imagededup's encoder without torchvision, which hashing does not use."""
    try:
        return importlib.import_module("imagededup.methods.hashing").PHash
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("torchvision"):
            raise
    for name in ("", ".models", ".models.vision_transformer", ".transforms"):
        sys.modules[f"torchvision{name}"] = MagicMock()
    return importlib.import_module("imagededup.methods.hashing").PHash


def with_nothing(paths: Sequence[str]) -> list[int]:
    """Measure by arithmetic alone how much two processes gain on this machine now."""
    for _ in paths:
        sum(range(100_000))
    return [0] * len(paths)


def pool_of(workers: int) -> ProcessPoolExecutor:
    """Start workers together after all have finished their imports."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers)
    return ProcessPoolExecutor(workers, context, initializer=ready.wait)


def timed(
    pool: ProcessPoolExecutor, way: Callable[[Sequence[str]], list[int]], paths: list[str]
) -> Any:
    """Return wall seconds, CPU seconds and the hashes; imports are not counted."""
    chunks = [paths[n : n + _CHUNK] for n in range(0, len(paths), _CHUNK)]
    list(pool.map(way, chunks[:4]))
    begun = time.perf_counter()
    found = list(pool.map(partial(_with_cpu_seconds, way), chunks))
    took = time.perf_counter() - begun
    return took, sum(cpu for _, cpu in found), [one for some, _ in found for one in some]


def _with_cpu_seconds(
    way: Callable[[Sequence[str]], list[int]], paths: Sequence[str]
) -> tuple[list[int], float]:
    begun = time.process_time()
    return way(paths), time.process_time() - begun


def timed_engine(workers: int, paths: list[str]) -> Any:
    """Run the pass as a build does, with rows sent back by workers; 1 means this process."""
    os.environ["IMP_WORKERS"] = str(workers)
    folder = Path(paths[0]).parent
    names, reader = [Path(path).name for path in paths], ImageReader(folder, folder, ())
    with redirect_stderr(io.StringIO()):
        fingerprints_of("", names[:200], reader, Limits())
        begun = time.perf_counter()
        rows = fingerprints_of("", names, reader, Limits())
        return time.perf_counter() - begun, [row.phash or 0 for row in rows]


def timed_daft(python: str, cores: int, paths: list[str]) -> Any:
    command = [python, "-c", _DAFT, str(cores)]
    told = subprocess.run(
        command, input=json.dumps(paths), check=True, capture_output=True, text=True,
        env={**os.environ, "DAFT_PROGRESS_BAR": "0"},
    ).stdout  # fmt: skip
    seconds, cpu, found, version = json.loads(told.splitlines()[-1])
    return seconds, cpu, [int(one, 16) for one in found], version


def rates(
    paths: list[str], repeat: int, daft_python: str | None, side: int | None
) -> dict[str, Any]:
    """Return median images per second by method and number of processes; runs are interleaved."""
    ways: dict[str, Any] = {
        "ours": partial(with_ours, side=side),
        "imagehash": with_imagehash,
        "(arithmetic)": with_nothing,
    }
    versions: dict[str, str] = {"imagehash": imagehash.__version__, "pillow": Image.__version__}
    try:
        _imagededup()
        ways["imagededup"] = with_imagededup
        versions["torchvision for imagededup"] = (
            "stand-in" if isinstance(sys.modules.get("torchvision"), MagicMock) else "its own"
        )
    except ImportError as error:
        print(f"without imagededup: {error}")
    took: dict[str, dict[int, list[float]]] = {n: {1: [], 2: []} for n in [*ways, "engine", "daft"]}
    cpu_took: dict[str, dict[int, list[float]]] = {n: {1: [], 2: []} for n in [*ways, "daft"]}
    hashes: dict[str, list[int]] = {}
    for workers in (1, 2):
        with pool_of(workers) as pool:
            for _ in range(repeat):
                for name, way in ways.items():
                    seconds, cpu, hashes[name] = timed(pool, way, paths)
                    took[name][workers].append(seconds)
                    cpu_took[name][workers].append(cpu)
                if side is None:
                    seconds, hashes["engine"] = timed_engine(workers, paths)
                    took["engine"][workers].append(seconds)
                if daft_python:
                    seconds, cpu, hashes["daft"], versions["daft"] = timed_daft(
                        daft_python, workers, paths
                    )
                    took["daft"][workers].append(seconds)
                    cpu_took["daft"][workers].append(cpu)
    speeds = {
        name: {str(n): round(len(paths) / statistics.median(s), 1) for n, s in by.items() if s}
        for name, by in took.items()
        if by[1]
    }
    cpu_us = {
        name: {str(n): round(statistics.median(s) / len(paths) * 1e6) for n, s in by.items() if s}
        for name, by in cpu_took.items()
        if by[1]
    }
    return {
        "images_per_second": speeds,
        "cpu_us_a_image": cpu_us,
        "cpu_times_as_cheap_as": {
            n: {k: round(s[k] / cpu_us["ours"][k], 2) for k in s}
            for n, s in cpu_us.items() if n not in {"ours", "(arithmetic)"}
        },
        "all_seconds": {n: {str(k): [round(x, 2) for x in s] for k, s in by.items()}
                        for n, by in took.items() if by[1]},
        "scaling": {n: round(s["2"] / s["1"], 2) for n, s in speeds.items()},
        "times_as_fast_as": {
            n: {k: round(speeds["ours"][k] / s[k], 2) for k in s}
            for n, s in speeds.items() if n not in {"ours", "engine", "(arithmetic)"}
        },
        "side_px": side or decoding._DECODED_SIDE_PX,
        "bits_differing": {
            name: differing(found, hashes["imagehash"])
            for name, found in hashes.items()
            if name in {"ours", "engine", "daft"}
        },
        "versions": versions,
    }  # fmt: skip


def differing(some: Sequence[int], others: Sequence[int]) -> dict[str, int]:
    """Return {differing bits: number of images} of two hashes of each image."""
    counts = Counter((a ^ b).bit_count() for a, b in zip(some, others, strict=True))
    return {str(bits): counts[bits] for bits in sorted(counts)}


def by_side(contents: Sequence[bytes]) -> list[dict[str, Any]]:
    """Measure the bits lost and the time saved by a reduced decode, for several minimum sides."""
    whole = [_full_hash(io.BytesIO(data)) for data in contents]
    kept, rows = decoding._DECODED_SIDE_PX, []
    for side in _SIDES_PX:
        decoding._DECODED_SIDE_PX = side
        begun = time.perf_counter()
        found = [ours.look(data, Limits()).phash or 0 for data in contents]
        seconds = time.perf_counter() - begun
        row: dict[str, Any] = {"side_px": side, "images_per_second": round(len(found) / seconds, 1)}
        rows.append({**row, "bits_differing": differing(found, whole), "now": side == kept})
    decoding._DECODED_SIDE_PX = kept
    return rows


def real_jpegs(folder: Path) -> list[bytes]:
    """Return the JPEGs below a folder that decode as a whole without error."""
    found = []
    for path in sorted(folder.rglob("*.jp*g")):
        data = path.read_bytes()
        look = ours.look(data, Limits())
        if look.status == "ok" and look.format == "JPEG":
            found.append(data)
    return found


def print_sides(title: str, rows: Sequence[dict[str, Any]]) -> None:
    print(title)
    for row in rows:
        mark = "*" if row["now"] else " "
        side = "whole" if row["side_px"] == _SIDES_PX[0] else f"{row['side_px']} px"
        print(
            f"  {mark}{side:8}{row['images_per_second']:8.0f} img/s   images by bits that differ "
            f"from imagehash on a full decode: {row['bits_differing']}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument(
        "--repeat", type=int, default=3, help="number of interleaved runs; medians are printed"
    )
    parser.add_argument("--images", type=Path, help="keep the drawn images here and use them")
    parser.add_argument("--daft-python", help="interpreter of an environment that has daft")
    parser.add_argument("--real", type=Path, help="folder of photographs to count bits on")
    parser.add_argument("--side", type=int, help="least side after decoding instead of ours")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.images or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        missing = [n for n in range(args.count) if not (folder / f"{n:05d}.jpg").exists()]
        with pool_of(2) as pool:
            list(pool.map(partial(_draw, folder=folder), missing, chunksize=20))
        paths = [str(folder / f"{n:05d}.jpg") for n in range(args.count)]
        size = sum(Path(path).stat().st_size for path in paths) // len(paths)
        figures = {"images": len(paths), "mean_bytes": size}
        figures |= rates(paths, args.repeat, args.daft_python, args.side)
        sides = by_side([Path(path).read_bytes() for path in paths[:_SAMPLE]])
    print(f"{len(paths):,} JPEGs of 640x480, {size:,} bytes each on average; {figures['versions']}")
    print(f"  {'':12}{'1 process':>12}{'2 processes':>14}{'scaling':>9}   ours is faster by"
          f"{'':9}CPU an image   ours is cheaper by")  # fmt: skip
    for name, speed in figures["images_per_second"].items():
        ratio = figures["times_as_fast_as"].get(name)
        faster = f"{ratio['1']} and {ratio['2']}" if ratio else ""
        cpu = figures["cpu_us_a_image"].get(name, {}).get("1")
        cheaper = figures["cpu_times_as_cheap_as"].get(name, {}).get("1", "")
        print(
            f"  {name:12}{speed['1']:8.0f} /s{speed['2']:11.0f} /s{figures['scaling'][name]:9.2f}"
            f"   {faster:26}{f'{cpu:,} us' if cpu else '':>13}   {cheaper}"
        )
    print(f"  bits that differ from imagehash's: {figures['bits_differing']}")
    print_sides("least side after decoding (* is in use), drawn images, one process", sides)
    figures["by_side"] = sides
    if args.real:
        contents = real_jpegs(args.real)
        figures["by_side_real"] = by_side(contents)
        print_sides(f"the same on {len(contents)} real JPEGs", figures["by_side_real"])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
