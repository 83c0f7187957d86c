"""Measure the near-duplicate report on a synthetic mixture of full size.

    python benchmarks/neighbours.py                       (a million rows, under a minute)
    python benchmarks/neighbours.py --scale 0.1

Rows have the sub-sources, turns and lengths of the real mixture, and random words. One image in a
hundred is like the one before it, one sample in a thousand answers another's question otherwise;
the report must find these. Prints seconds and the peak of any process; the last line is JSON.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from rehearsal import elsewhere, peak_mib
from scale import captions, mix665k

from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import (
    fingerprint_table,
    fingerprint_writer,
    hash_image_paths,
)
from imp_data.mixture.arrow_dataset import write_index, write_shard
from imp_data.mixture.duplicates.analysis import report
from imp_data.mixture.mixture_json import root_digest
from imp_data.mixture.shards import shard_names
from imp_data.sample import SAMPLE_SCHEMA
from imp_data.storage.atomic_write import json_text
from imp_data.storage.digests import file_sha256

_SHARD_ROWS = 50_000
_MIX, _CAPTIONS = 665_298, 334_702
_ALIKE_EVERY, _CONTRADICTED_EVERY = 100, 1000
_QUESTION = "<image>\nWhat is seen on the left?\nAnswer the question using a single word or phrase."


def samples(scale: float) -> Iterator[dict[str, Any]]:
    """Yield rows of a mixture; some contradict the row before on the same image."""
    count = round(_CAPTIONS * scale)
    told = captions(count, 5, "allava_{}", "allava_laion/images/{}.jpeg", (40, 900))
    image = None
    for number, record in enumerate(chain(mix665k(scale), told)):
        turns = record["conversations"]
        if number % _CONTRADICTED_EVERY in {1, 2}:
            image = f"asked/{number // _CONTRADICTED_EVERY}.jpg"
            answer = "a dog" if number % _CONTRADICTED_EVERY == 1 else "two cats"
            turns = [{"from": "human", "value": _QUESTION}, {"from": "gpt", "value": answer}]
        else:
            image = record.get("image")
        source = "llava_665k" if number < round(_MIX * scale) else "allava_instruct"
        name = int(hash_image_paths([image])[0])
        yield {
            "id": f"{source}/{number:016x}",
            "source": source,
            "subset": "",
            "image": image,
            "conversations": turns,
            "upstream_id": str(record["id"]),
            "license": "none",
            "image_sha256": f"{name:016x}" * 4 if image else None,
            "image_width": 640 if image else None,
            "image_height": 480 if image else None,
        }


def write_world(folder: Path, scale: float) -> None:
    """Write a mixture and the fingerprints of its images."""
    folder.mkdir(parents=True)
    total = round(_MIX * scale) + round(_CAPTIONS * scale)
    rows = samples(scale)
    seen: dict[int, None] = {}
    looks: list[Fingerprint] = []
    names = shard_names(total, _SHARD_ROWS)
    for name in names:
        some = list(islice(rows, _SHARD_ROWS))
        write_shard(folder / name, pa.Table.from_pylist(some, schema=SAMPLE_SCHEMA))
        looks += fingerprints(some, seen)
    write_index(folder, dict.fromkeys(names, "0"), total)
    files = {
        path.name: {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in folder.iterdir()
    }
    stated = {"name": "made_up", "images": "required", "files": files}
    text = json_text({**stated, "digest": root_digest(stated)})
    (folder / "mixture.json").write_text(text)
    with fingerprint_writer(folder / "fingerprints.parquet") as out:
        out.write_table(fingerprint_table(looks).cast(out.schema))


def fingerprints(rows: Iterable[dict[str, Any]], seen: dict[int, None]) -> Iterator[Fingerprint]:
    """Yield a synthetic fingerprint for each new image, derived from its name."""
    hashed = 0
    for row in rows:
        if row["image"] is None:
            continue
        name = int(hash_image_paths([row["image"]])[0])
        if name not in seen:
            seen[name] = None
            hashed = hashed ^ 0b101 if len(seen) % _ALIKE_EVERY == 0 else name
            sha256 = row["image_sha256"]
            yield Fingerprint(
                row["image"], "ok", 90_000, sha256, "JPEG", "RGB", 640, 480, 1, hashed
            )


def measured(folder: Path, bits: int) -> dict[str, Any]:
    """Return seconds and memory of one report, and whether it finds the planted cases."""
    begun = time.perf_counter()
    found = report(folder, [folder / "fingerprints.parquet"], bits)
    seconds = time.perf_counter() - begun
    alike, said = found["alike"], found["contradictions"]
    figures = {
        "samples": found["samples"],
        "images": found["images"],
        "exchanges_compared": said["exchanges"],
        "bits": bits,
        "seconds": round(seconds, 1),
        "peak_mib": round(peak_mib()),
        "clusters": alike["clusters"],
        "contradicted_questions": said["questions"],
    }
    assert alike["clusters"] >= found["images"] // _ALIKE_EVERY - 1, "planted images are missed"
    # And a few more by chance, where random words ask an image the same question again.
    assert said["questions"] >= len(range(2, found["samples"], _CONTRADICTED_EVERY))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of a million rows")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path("data/neighbours"))
    parser.add_argument("--workers", default="2")
    args = parser.parse_args()
    os.environ["IMP_WORKERS"] = args.workers
    shutil.rmtree(args.folder, ignore_errors=True)
    elsewhere(write_world, args.folder, args.scale)
    figures = measured(args.folder, args.bits)
    shutil.rmtree(args.folder)
    print(
        f"{figures['samples']:,} samples on {figures['images']:,} images, "
        f"{figures['exchanges_compared']:,} exchanges compared: {figures['seconds']} s, "
        f"at most {figures['peak_mib']} MiB in a process; {figures['clusters']:,} clusters, "
        f"{figures['contradicted_questions']:,} contradicted questions"
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
