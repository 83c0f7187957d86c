"""Compare images per second of `imp-data fetch-images` with img2dataset, with and without faults.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install img2dataset
    python benchmarks/image_urls.py --peer-python /tmp/peer/bin/python    (about four minutes)

Both download the same JPEGs from one loopback server in a process of its own, with as many
connections, and store them as they come: img2dataset without resizing and re-encoding, which is its
fastest way. Runs are interleaved and medians count. Then one URL in ten gets a fault: an endless
stream, a server that sends a byte at a time or nothing, a broken connection, an error, a page. A
run with faults is ended after --limit seconds. img2dataset has an interpreter of its own because it
asks for older packages than this project's.
"""

import argparse
import io
import json
import multiprocessing
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from image_server import ImageServer
from PIL import Image

from imp_data.raw.image_urls.status import STATUS_FILE, read_statuses

_FAULTS = (
    *("endless", "drip", "silent", "short", "reset", "huge", "bomb", "loop"),
    *("status/404", "status/500", "page/html", "page/empty", "robots/noai"),
    *("to?url=http://127.0.0.2/x.jpg", "to?url=file:///etc/hostname"),
)
_PEER = """
import sys
from img2dataset import download
urls, out, connections, seconds = sys.argv[1:]
if __name__ == "__main__":
    download(
        url_list=urls, input_format="txt", output_folder=out, output_format="files",
        processes_count=1, thread_count=int(connections), resize_mode="no", skip_reencode=True,
        timeout=int(float(seconds)), retries=2, number_sample_per_shard=100_000, enable_wandb=False,
    )
"""
_PEER_VERSION = "from importlib.metadata import version; print(version('img2dataset'))"


def draw(count: int) -> dict[str, bytes]:
    """Return JPEGs of 512x384 by path; ten contents take turns."""
    contents = []
    for seed in range(10):
        coarse = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((512, 384), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=85)
        contents.append(out.getvalue())
    return {f"{n:06d}.jpg": contents[n % 10] for n in range(count)}


def serve(count: int, pipe: Connection) -> None:
    """Run the server; for each message, send the seconds from first request to last answer."""
    server = ImageServer(draw(count))
    pipe.send(server.port)
    while pipe.recv():
        pipe.send(server.last_answer - server.first_request)
        server.first_request = 0.0


def fault_of(number: int) -> str:
    """Return the path of a fault; no two URLs are equal."""
    path = _FAULTS[number // 10 % len(_FAULTS)]
    return f"{path}{'&' if '?' in path else '?'}n={number}"


def command_of(name: str, peer: str, urls: Path, out: Path, args: argparse.Namespace) -> list[str]:
    if name == "img2dataset":
        script = urls.with_name("peer.py")  # a file, because the peer starts other processes
        script.write_text(_PEER, encoding="utf-8")
        words = [peer, script, urls, out, args.connections, args.seconds]
    else:
        words = [sys.executable, "-m", "imp_data", "fetch-images", urls, "-o", out]
        words += ["--connections", args.connections, "--per-host", args.connections, "--rate", 0]
        words += ["--seconds", args.seconds, "--private-host", "127.0.0.1", "--allow-failures"]
    return [str(word) for word in words]


def run(words: Sequence[str], limit: float) -> tuple[float | None, float]:
    """Return wall and CPU seconds; None if the run did not end within the limit."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun, ended = time.perf_counter(), True
    with subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},  # else the peer waits for a network
    ) as process:
        try:
            if process.wait(limit):
                raise SystemExit(f"failed: {' '.join(words)}")
        except subprocess.TimeoutExpired:
            ended = False
            os.killpg(process.pid, signal.SIGKILL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (time.perf_counter() - begun if ended else None), cpu


def count_images(name: str, out: Path) -> dict[str, int]:
    """Return the number of stored images, and of our results."""
    stored = {"images": sum(1 for _ in out.rglob("*.jpg"))}
    if name == "img2dataset":
        return stored
    statuses = read_statuses(out / STATUS_FILE)
    return stored | dict(Counter(one.reason or one.status for one in statuses))


def measure(
    names: Sequence[str],
    urls: Sequence[str],
    repeat: int,
    args: argparse.Namespace,
    server: Connection,
) -> dict[str, Any]:
    """Run all ways over the same URLs; return medians by name.

    The rate counts from the server's first request to its last answer: img2dataset takes many
    seconds to start.
    """
    took: dict[str, list[tuple[float | None, float]]] = {name: [] for name in names}
    served: dict[str, list[float]] = {name: [] for name in names}
    found: dict[str, dict[str, int]] = {}
    for _ in range(repeat):
        for name in names:
            with tempfile.TemporaryDirectory() as scratch:
                path, out = Path(scratch) / "urls.txt", Path(scratch) / "out"
                path.write_text("\n".join(urls), encoding="utf-8")
                words = command_of(name, args.peer_python, path, out, args)
                took[name].append(run(words, args.limit))
                server.send(True)
                served[name].append(server.recv())
                found[name] = count_images(name, out)
    figures: dict[str, Any] = {}
    for name, times in took.items():
        ended = [seconds for seconds, _ in times if seconds is not None]
        seconds = statistics.median(ended) if len(ended) == len(times) else None
        cpu = statistics.median(cpu for _, cpu in times)
        rate = found[name]["images"] / statistics.median(served[name])
        figures[name] = {
            "seconds": seconds and round(seconds, 2),  # None: ended by --limit
            "images_per_second": round(rate, 1),
            "cpu_ms_a_url": round(cpu / len(urls) * 1000, 2),
            **found[name],
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=3_000, help="number of images")
    parser.add_argument("--faults", type=int, default=300, help="URLs of the run with faults")
    parser.add_argument("--repeat", type=int, default=3, help="interleaved runs without faults")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="time limit of one attempt")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds until a run is ended")
    parser.add_argument("--peer-python", help="interpreter that has img2dataset")
    args = parser.parse_args()
    names = ["ours", *(["img2dataset"] if args.peer_python else [])]
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(args.count, there), daemon=True)
    process.start()
    base = f"http://127.0.0.1:{here.recv()}"
    plain = [f"{base}/{n:06d}.jpg" for n in range(args.count)]
    faulty = [f"{base}/{fault_of(n)}" if n % 10 == 0 else plain[n] for n in range(args.faults)]
    figures: dict[str, Any] = {
        "plain": measure(names, plain, args.repeat, args, here),
        "faults": measure(names, faulty, 1, args, here),
    }
    here.send(False)
    if args.peer_python:
        version = [args.peer_python, "-c", _PEER_VERSION]
        figures["img2dataset"] = subprocess.check_output(version, text=True).strip()
        ours, theirs = (figures["plain"][name] for name in names)
        figures["times_as_fast"] = round(ours["images_per_second"] / theirs["images_per_second"], 2)
        print(f"ours is {figures['times_as_fast']} times as fast as img2dataset")
    for kind in ("plain", "faults"):
        for name, found in figures[kind].items():
            print(f"{kind:7} {name:12} {found}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
