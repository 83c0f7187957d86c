"""Measure the loader: padding by order, preflight, samples/s with 640x480 JPEGs in a zip, memory.

    python benchmarks/loader.py                     (about four minutes on two cores)
    python benchmarks/loader.py --rows 200000 --only padding

Samples have the 1M mixture's shares, numbers of turns and lengths of text, in made-up words; the
tokenizer is a byte-level BPE trained on them. Beside ours stands the recipe's own way: the JSON in
memory, each round tokenized again for its labels, transformers' processor for the image. The last
line is one JSON object.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scale
from PIL import Image
from recipe import Recipe

from imp_data.images.reader import ImageReader
from imp_data.manifests import Folder
from imp_data.mixture.arrow_dataset import write_index, write_shard
from imp_data.sample import SAMPLE_SCHEMA
from imp_data.training.data.batch_sampler import Packing, steps_of
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.sampling import modality_length_order, padding_share, random_order
from imp_data.training.model.tokenizers import byte_level_bpe, prepared

PHI2, IMAGE_TOKENS, MAX_LENGTH, SIDE = TEMPLATES["phi2"], 729, 3072, 384
# Imp's: 4 samples a device, 8 devices, 4 batches a step.
PER_DEVICE, DEVICES, CHUNKS = 4, 8, 32
IMAGES = 400
# (samples, exchanges from-to, characters of question and answer), beside scale.MIX665K.
OTHERS = [
    (300_000, (1, 1), (125, 640)),
    (20_000, (1, 1), (40, 900)),
    (10_000, (1, 1), (40, 1000)),
    (10_000, (8, 14), (48, 5)),
    (10_000, (1, 7), (50, 12)),
    (12_000, (1, 8), (60, 8)),
]


def records(rows: int) -> list[dict[str, Any]]:
    """Return conversations in the mixture's shares, in random order."""
    size, prose = rows / 1_005_000, scale.Prose(31)
    made: list[dict[str, Any]] = [
        record for record in scale.mix665k(size) if "textvqa" not in str(record.get("image"))
    ]
    for count, exchanges, (asked, answered) in OTHERS:
        for _ in range(round(count * size)):
            turns = []
            for number in range(prose.between(*exchanges)):
                question = prose(asked)
                turns.append(("human", question if number else f"<image>\n{question}"))
                turns.append(("gpt", prose(answered)))
            made.append({"image": "x", "conversations": [_turn(*turn) for turn in turns]})
    random.Random(5).shuffle(made)
    return made


def _turn(speaker: str, value: str) -> dict[str, str]:
    return {"from": speaker, "value": value}


def jpeg(seed: int) -> bytes:
    """Return a JPEG with the size in bytes of a photograph."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC))
    noisy = smooth + generator.normal(0, 8, smooth.shape)
    out = BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def lay(folder: Path, made: list[dict[str, Any]]) -> ImageReader:
    """Write a mixture, LLaVA's JSON of it, and the zip with its images."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "raw" / "zip").mkdir(parents=True)
    files = [jpeg(n) for n in range(IMAGES)]
    with zipfile.ZipFile(folder / "raw" / "zip" / "all.zip", "w") as archive:
        for number, data in enumerate(files):
            archive.writestr(f"{number}.jpg", data)
    digests = [hashlib.sha256(data).hexdigest() for data in files]
    rows = []
    for number, record in enumerate(made):
        shown = number % IMAGES if "image" in record else None
        rows.append(
            {
                "id": f"made/{number:016x}",
                "source": "made",
                "subset": "",
                "upstream_id": str(number),
                "license": "CC0-1.0",
                "image": None if shown is None else f"p/{shown}.jpg",
                "conversations": record["conversations"],
                "image_sha256": None if shown is None else digests[shown],
                "image_width": 640,
                "image_height": 480,
            }
        )
    write_shard(folder / "data.arrow", pa.Table.from_pylist(rows, SAMPLE_SCHEMA))
    write_index(folder, {"data.arrow": "0" * 64}, len(rows))
    (folder / "mixture.json").write_text("{}")
    (folder / "llava.json").write_text(json.dumps(rows))
    return ImageReader(
        folder / "images", folder / "raw", (("zip", Folder(path="p", file="all.zip")),)
    )


def padding(lengths: Any, words: Any) -> dict[str, float]:
    """Return the share of padding and the samples per row, by order."""
    whole = PER_DEVICE * CHUNKS

    def single(order: list[int]) -> list[list[Any]]:
        return [[(r,) for r in order[n : n + PER_DEVICE]] for n in range(0, len(order), PER_DEVICE)]

    chance = random_order(len(lengths), 1, 0).tolist()
    guessed = modality_length_order(words, PER_DEVICE, CHUNKS, 1, 0)
    begun = time.perf_counter()
    exact = modality_length_order(lengths, PER_DEVICE, CHUNKS, 1, 0)
    exact_seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    packing = Packing(lengths, MAX_LENGTH)
    deal = packing.deal(packing.parts([guessed], whole, PER_DEVICE, DEVICES))
    packed = [
        [tuple(rows[n] for n in places) for places in batch]
        for rows in steps_of(guessed, whole)
        for batch in deal(rows)
    ]
    seconds = time.perf_counter() - begun
    return {
        "random": padding_share(lengths, single(chance)),
        "modality_length, words": padding_share(lengths, single(guessed)),
        "modality_length, tokens": padding_share(lengths, single(exact)),
        "packed": padding_share(lengths, packed),
        "samples_a_row": len(lengths) / sum(map(len, packed)),
        "packing_seconds": seconds,
        "ordering_seconds": exact_seconds,
    }


def private_mib() -> float:
    """Return the private memory of this process."""
    fields = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in fields}
    return (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024


class Watched:
    """A dataset that returns the memory of its process with each item."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Any:
        return self.dataset[number], private_mib() if number % 50 == 0 else 0.0


def feed(
    dataset: Any, collate: Callable[[Any], Any] | None, workers: int, count: int
) -> dict[str, float]:
    """Return samples per second of wall and CPU time over `count` samples in batches of four."""
    import torch

    held: list[float] = []

    def joined(pairs: list[Any]) -> Any:
        return (collate or list)([item for item, _ in pairs]), max(mib for _, mib in pairs)

    loader = torch.utils.data.DataLoader(
        Watched(dataset), PER_DEVICE, num_workers=workers, collate_fn=joined
    )
    batches: Iterator[Any] = iter(loader)
    for _ in range(20):
        next(batches)
    begun, busy = time.perf_counter(), cpu_seconds()
    for _ in range(count // PER_DEVICE):
        held.append(next(batches)[1])
    seconds = time.perf_counter() - begun
    spent = cpu_seconds() - busy
    return {
        "samples_per_s": count / seconds,
        "samples_per_cpu_s": count / spent,
        "worker_private_mib": max(held),
    }


def cpu_seconds() -> float:
    """Return the CPU time of this process and its children."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(stat.parent.name) == os.getpid() or int(fields[1]) == os.getpid():
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=Path("data/loader"))
    parser.add_argument("--samples", type=int, default=1_200, help="timed samples")
    parser.add_argument("--only", choices=["padding"], help="run this measurement only")
    asked = parser.parse_args()
    from imp_data.training.data.collator import Collator
    from imp_data.training.data.dataset import Figures, MixtureDataset
    from imp_data.training.data.preflight import accepted, preflight, report_text

    made = records(asked.rows)
    reader = lay(asked.folder, made)
    texts = (turn["value"] for record in made[:5000] for turn in record["conversations"])
    tokenizer = prepared(byte_level_bpe(texts, 8000), PHI2)
    begun = time.perf_counter()
    found = preflight(
        *(asked.folder, tokenizer, PHI2, IMAGE_TOKENS, MAX_LENGTH, asked.folder / "preflight")
    )
    seconds = time.perf_counter() - begun
    figures: dict[str, Any] = {"rows": len(made), "preflight_rows_per_s": len(made) / seconds}
    print(report_text(found.figures))
    print(f"preflight: {len(made) / seconds:,.0f} rows/s")
    table = accepted(asked.folder / "preflight")
    figures["padding"] = padding(table.lengths, table.estimates)
    for name, value in figures["padding"].items():
        print(f"{name:<28}{value:8.4f}")
    if asked.only is None:
        del made
        sizes = Figures(SIDE, IMAGE_TOKENS, "square", MAX_LENGTH)
        ours = MixtureDataset(asked.folder, reader, tokenizer, PHI2, sizes)
        recipe = Recipe(asked.folder / "llava.json", reader, tokenizer, SIDE)
        figures["loader"] = {}
        for workers in (1, 2):
            for name, dataset, collate in (
                ("ours", ours, Collator(tokenizer, sizes)),
                ("recipe", recipe, None),
            ):
                run = feed(dataset, collate, workers, asked.samples)
                figures["loader"][f"{name}, {workers} workers"] = run
                told = ", ".join(f"{key} {value:,.0f}" for key, value in run.items())
                print(f"{name}, {workers} workers: {told}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
