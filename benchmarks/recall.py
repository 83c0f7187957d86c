"""Measure recall on altered copies and false positives of the perceptual hash, by decoding scale.

    python benchmarks/recall.py --images FOLDER --crops 400 --drawn 200      (about ten minutes)

Images are the photographs below the folder (default: IMP_REAL_DATA), one of each group that look
alike; crops of them, scaled to usual sizes, so many in all; and drawn ones with the spectrum of
photographs. All are JPEGs. Each is altered in every way of groups A to C of
`imp_data.screening.decontamination.certificate.alterations`, and each copy is hashed by our pass
at several least sides after decoding and by imagehash, which decodes in full. A copy is found if it
is within the distance of its own image, hashed in the same way; it is a false positive with each
image of
another origin within the distance. Intervals are Wilson's, 95 %; they take copies for independent,
which those of one photograph are not quite. The last line is one JSON object."""

import argparse
import io
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from math import comb, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import imagehash
import numpy as np
from fingerprint import photo_like
from PIL import Image, ImageOps

from imp_data.images import decoding
from imp_data.images.rgb import rgb
from imp_data.screening.decontamination.certificate import alterations
from imp_data.screening.decontamination.certificate.alterations import altered, plain_copy
from imp_data.screening.decontamination.certificate.matchers import BuildMatcher

_SIZES = ((640, 480), (640, 427), (500, 375), (480, 640), (1024, 768))
_WHOLE_PX = 100_000
_SIDES_PX = {"whole": _WHOLE_PX, **{str(side): side for side in (240, 120, 96, 60, 32)}}
_PEER = "imagehash"
ALTERATIONS = {n: one for n, one in alterations.ALTERATIONS.items() if one.group in "ABC"}
_NEAR = np.array([alteration.group == "A" for alteration in ALTERATIONS.values()])
_ALIKE_BITS = 16
_MOST_PX = 2_000


class Original(NamedTuple):
    """An image to alter; images of one origin are never counted as unrelated."""

    kind: str
    origin: int
    data: bytes


def jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def photographs(folder: Path) -> list[Image.Image]:
    """Return upright RGB images, the largest of each group of near-duplicates."""
    found: list[Image.Image] = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            with Image.open(path) as image:
                plain = rgb(ImageOps.exif_transpose(image))
        except (OSError, SyntaxError, ValueError):
            continue
        plain.thumbnail((_MOST_PX, _MOST_PX))
        if min(plain.size) >= 300:
            found.append(plain)
    kept: list[tuple[Image.Image, set[int]]] = []
    for image in sorted(found, key=lambda one: -one.width * one.height):
        turns = [image, *(image.transpose(how) for how in Image.Transpose)]
        looks = {int(str(imagehash.phash(turn)), 16) for turn in turns}
        near = min((look ^ one).bit_count() for look in looks for _, ones in kept for one in ones) \
            if kept else 64  # fmt: skip
        if near > _ALIKE_BITS:
            kept.append((image, looks))
    return [image for image, _ in kept]


def originals(folder: Path | None, crops: int, drawn: int) -> Iterator[Original]:
    generator = np.random.default_rng(7)
    real = photographs(folder) if folder else []
    for origin, image in enumerate(real):
        yield Original("photograph", origin, jpeg(image, 90))
    for n in range(crops if real else 0):
        origin = n % len(real)
        size = _SIZES[n // len(real) % len(_SIZES)]
        crop = cropped(real[origin], size, generator)
        yield Original("crop", origin, jpeg(crop, int(generator.integers(75, 96))))
    for n in range(drawn):
        image = photo_like(n, _SIZES[n % len(_SIZES)])
        yield Original("drawn", 10_000 + n, jpeg(image, int(generator.integers(75, 96))))


def cropped(
    image: Image.Image, size: tuple[int, int], generator: np.random.Generator
) -> Image.Image:
    """Return a crop of 0.35 to 1 of the largest with the shape, in this size."""
    most = min(image.width / size[0], image.height / size[1])
    scale = most * generator.uniform(0.35, 1)
    width, height = int(size[0] * scale), int(size[1] * scale)
    left = int(generator.integers(0, image.width - width + 1))
    top = int(generator.integers(0, image.height - height + 1))
    part = image.crop((left, top, left + width, top + height))
    return part.resize(size, Image.Resampling.BICUBIC)


def hash_image(data: bytes) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the stored and the upright hash of an image. Raise ValueError for a flat one."""
    hashes = BuildMatcher().describe(data)
    if hashes is None:
        raise ValueError("a flat image has no hash")
    return hashes


def min_distance_bits(some: Any, others: Any) -> Any:
    """Return the least distance between images; the last axis has an image's hashes."""
    return np.bitwise_count(some[..., :, None] ^ others[..., None, :]).min(axis=(-2, -1))


def looks(data: bytes) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return both hashes of an image by each method, one row per method."""
    rows = []
    for side in _SIDES_PX.values():
        decoding._DECODED_SIDE_PX = side
        rows.append(hash_image(data))
    with Image.open(io.BytesIO(data)) as image:
        pair = [int(str(imagehash.phash(image)), 16)] * 2
        if image.getexif():
            pair[1] = int(str(imagehash.phash(ImageOps.exif_transpose(image))), 16)
    return np.stack([*rows, np.array(pair, np.uint64)])


def looked_at(original: Original) -> tuple[Any, Any]:
    """Return hashes of the original by method, and of its copies by alteration and method."""
    image = plain_copy(original.data)
    copies = [looks(altered(image, alteration)) for alteration in ALTERATIONS.values()]
    return looks(original.data), np.stack(copies)


def wilson(found: int, of: int) -> list[float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    if not of:
        return [0.0, 1.0]
    z, share = 1.959964, found / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return [round(max(middle - half, 0.0), 8), round(min(middle + half, 1.0), 8)]


def tossed(one: int, other: int) -> float:
    """Return the p-value of McNemar's exact test, two-sided."""
    of = one + other
    tail = sum(comb(of, k) for k in range(min(one, other) + 1))
    return float(min(1.0, 2 * tail / 2**of))


def figures_of(
    some: list[Original], known: Any, copies: Any, bits: int
) -> dict[str, dict[str, Any]]:
    """Return recall, false positives and pairs against the peer for each method.

    `known` is image, way, look; `copies` is image, alteration, way, look.
    """
    ways = [*_SIDES_PX, _PEER]
    origins = np.array([one.origin for one in some])
    apart = origins[:, None] != origins[None, :]
    hits = {
        w: min_distance_bits(copies[:, :, n], known[:, None, n]) <= bits for n, w in enumerate(ways)
    }
    told: dict[str, dict[str, Any]] = {}
    for n, way in enumerate(ways):
        found, peer = hits[way], hits[_PEER]
        near = found[:, _NEAR]
        false = sum(
            int(
                (min_distance_bits(copies[:, a, n][:, None], known[None, :, n]) <= bits)[
                    apart
                ].sum()
            )
            for a in range(copies.shape[1])
        )
        pairs = int(apart.sum()) * copies.shape[1]
        gained, lost = found & ~peer, peer & ~found
        balance = np.zeros(len(some))
        of_origin = np.unique(origins, return_inverse=True)[1]
        np.add.at(balance, of_origin, gained.sum(axis=1) - lost.sum(axis=1))
        unaltered = min_distance_bits(known[:, None, n], known[None, :, n]) <= bits
        counts = dict(zip(ALTERATIONS, found.sum(axis=0).tolist(), strict=True))
        told[way] = {
            "found": counts,
            "recall": {name: round(count / len(some), 4) for name, count in counts.items()},
            "interval": {name: wilson(count, len(some)) for name, count in counts.items()},
            "near": round(float(near.mean()), 5),
            "near_interval": wilson(int(near.sum()), near.size),
            "near_missed": int((~near).sum()),
            "found_not_by_peer": int(gained.sum()),
            "by_peer_alone": int(lost.sum()),
            "chance": round(tossed(int(gained.sum()), int(lost.sum())), 4),
            "origins_better": int((balance > 0).sum()),
            "origins_worse": int((balance < 0).sum()),
            "false": false,
            "pairs": pairs,
            "false_interval": wilson(false, pairs),
            "unaltered_false": int((unaltered & apart).sum()) // 2,
            "unaltered_pairs": int(apart.sum()) // 2,
        }
    return told


def print_table(kind: str, told: dict[str, dict[str, Any]], count: int) -> None:
    ways = [*_SIDES_PX, _PEER]
    print(f"\n{count} images: {kind}\n| recall, % | " + " | ".join(ways) + " |")
    print("|---|" + "---:|" * len(ways))
    for name, alteration in ALTERATIONS.items():
        mark = "" if alteration.group == "A" else " (beyond)"
        row = (f"{100 * told[way]['recall'][name]:.1f}" for way in ways)
        print(f"| {name}{mark} | " + " | ".join(row) + " |")
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "all but (beyond)": lambda one: f"{100 * one['near']:.2f}",
        "95 %": lambda one: "–".join(f"{100 * end:.2f}" for end in one["near_interval"]),
        "missed": lambda one: f"{one['near_missed']:,}",
        "found, not by imagehash": lambda one: f"{one['found_not_by_peer']}",
        "by imagehash alone": lambda one: f"{one['by_peer_alone']}",
        "chance of that": lambda one: f"{one['chance']:.3f}",
        "origins better / worse": lambda one: f"{one['origins_better']} / {one['origins_worse']}",
        "false positives": lambda one: f"{one['false']} of {one['pairs']:,}",
        "a million pairs, 95 %": lambda one: "–".join(
            f"{1e6 * end:.2f}" for end in one["false_interval"]
        ),
        "false, unaltered": lambda one: f"{one['unaltered_false']} of {one['unaltered_pairs']:,}",
    }
    for name, cell in lines.items():
        print(f"| {name} | " + " | ".join(cell(told[way]) for way in ways) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("IMP_REAL_DATA")
    parser.add_argument("--images", type=Path, default=Path(default) if default else None)
    parser.add_argument("--crops", type=int, default=400)
    parser.add_argument("--drawn", type=int, default=200)
    parser.add_argument("--bits", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    begun = time.perf_counter()
    some = list(originals(args.images, args.crops, args.drawn))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, context) as pool:
        seen = list(pool.map(looked_at, some, chunksize=2))
    known, copies = (np.stack([one[n] for one in seen]) for n in (0, 1))
    figures: dict[str, Any] = {
        "bits": args.bits,
        "decoder": decoding.decoder_version(),
        "kinds": {},
    }
    rooms = {"photographs and crops": {"photograph", "crop"}, "drawn": {"drawn"}}
    for room, kinds in rooms.items():
        places = [n for n, one in enumerate(some) if one.kind in kinds]
        if not places:
            continue
        chosen = [some[n] for n in places]
        told = figures_of(chosen, known[places], copies[places], args.bits)
        origins = len({one.origin for one in chosen})
        print_table(f"{room}, of {origins} origins, within {args.bits} bits", told, len(places))
        figures["kinds"][room] = {"images": len(places), "origins": origins, "ways": told}
    figures["seconds"] = round(time.perf_counter() - begun)
    print(f"\n{figures['decoder']}; {figures['seconds']} s")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
