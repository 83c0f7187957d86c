"""Real records and images, from the folder IMP_REAL_DATA.

The folder has records that upstream's authors quote and images that other projects test with, in
llava/, allava/, formats/ and near_duplicates/.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import World, run
from datasets import load_from_disk

from imp_data.images.fingerprint import Fingerprint, fingerprint_image
from imp_data.images.hamming import find_nearest
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits

REAL = Path(os.environ.get("IMP_REAL_DATA") or "unset")
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="IMP_REAL_DATA names no folder")


def fingerprint_of(image: str) -> Fingerprint:
    return fingerprint_image(image, ImageReader(REAL, REAL, ()), Limits())


def rows_and_ledger(
    world: World, records: bytes, subsets: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return Samples in upstream order, and the ledger, of a build with deferred images."""
    world.source("real", records, subsets=subsets)
    run(world.build({"real": 99}, images="deferred"))
    folder = world.data.mixture("small")
    ledger = pl.read_parquet(folder / "ledger.parquet").to_dicts()
    place = {row["id"]: row["ordinal"] for row in ledger}
    rows = load_from_disk(str(folder)).to_list()
    return sorted(rows, key=lambda row: place[row["id"]]), ledger


def test_the_quoted_records_of_mix665k_are_kept_with_the_token_in_front(world: World) -> None:
    content = (REAL / "llava" / "mix665k_quoted_records.json").read_bytes()
    rows, ledger = rows_and_ledger(world, content, "mix665k")
    assert [(row["upstream_id"], row["subset"]) for row in rows] == [
        *(("000000033471", "llava_instruct"), ("000000565044", "llava_instruct")),
        *(("000000261414", "llava_instruct"), ("000000312621", "llava_instruct")),
        ("000000527717", "llava_instruct"),
        *(("140031996X", "ocr_vqa"), ("1451670761", "ocr_vqa")),
    ]
    moved = {row["ordinal"]: row["repairs"] for row in ledger if row["repairs"]}
    assert {n: [r["repair"] for r in some] for n, some in moved.items()} == {
        n: ["token_moved"] for n in (1, 2, 4)
    }
    assert moved[2][0]["before"] == "What makes the image noteworthy?\n<image>"
    assert rows[2]["conversations"][0]["value"] == "<image>\nWhat makes the image noteworthy?"
    for row, upstream in zip(rows, json.loads(content), strict=True):
        assert [t["from"] for t in row["conversations"]] == ["human", "gpt"] * (
            len(upstream["conversations"]) // 2
        )
        assert [t["value"] for t in row["conversations"][1:]] == [
            t["value"] for t in upstream["conversations"][1:]
        ]


def test_the_allava_samples_are_kept_and_a_raw_newline_is_read_as_if_escaped(
    world: World,
) -> None:
    samples = json.loads((REAL / "allava" / "samples.json").read_bytes())
    # The README of ALLaVA breaks the line inside this word; JSON allows it only when escaped.
    content = json.dumps(list(samples.values())).encode()
    assert content.count(rb"gems\ntone") == 1
    rows, ledger = rows_and_ledger(world, content.replace(rb"gems\ntone", b"gems\ntone"), "allava")
    assert [(row["upstream_id"], row["subset"]) for row in rows[:4]] == [
        ("allava_laion_cap_100277305", "laion"),
        ("allava_vflan_cap_100000", "vflan:PACS+guitar_image_category_classification"),
        ("allava_laion_inst_100277305", "laion"),
        ("allava_vflan_inst_9", "vflan:VQA-E+visual_question_answering"),
    ]
    # ALLaVA's text file calls the id `idx`, and its records have no image.
    assert [(row["upstream_id"], row["image"]) for row in rows[4:]] == [("heR0vZB", None)]
    assert [[r["repair"] for r in row["repairs"]] for row in ledger] == [["raw_control"], *[[]] * 4]
    assert "due to the gems\ntone accents" in rows[0]["conversations"][1]["value"]


MODES = {
    **{f"modes/{mode}.png": ("PNG", mode) for mode in ("1", "L", "LA", "P", "RGBA")},
    **{f"modes/{mode}.jpg": ("JPEG", "RGB") for mode in ("RGB", "YCbCr", "original")},
    # WebP has no such modes: what was saved as one came out as RGB.
    **{f"modes/{mode}.webp": ("WEBP", "RGB") for mode in ("F", "HSV", "I", "LAB", "PA")},
    "modes/CMYK.jpg": ("JPEG", "CMYK"),
}
FORMATS = {
    **MODES,
    **{f"exif/exif-rotn-{n}.jpg": ("JPEG", "RGB") for n in (1, 3, 6, 8)},
    # Their names lie: four of the five are one JPEG.
    **{f"ukbench09380.{end}": ("JPEG", "RGB") for end in ("bmp", "jpeg", "png", "svg")},
    "ukbench09380.webp": ("WEBP", "RGB"),
    "Iggy.1024.ppm": ("PPM", "RGB"),
    "alpha_channel_image.png": ("PNG", "RGBA"),
    "baboon.pgm": ("PPM", "L"),
    "c.png": ("PNG", "RGBA"),
    "copyleft.tiff": ("TIFF", "RGB"),
    "giphy.gif": ("GIF", "P"),
    "marbles.pbm": ("PPM", "1"),
    "small.jpg": ("JPEG", "RGB"),
    "wee.jpg": ("JPEG", "RGB"),
}


def test_every_image_in_formats_has_a_row() -> None:
    files = (f.relative_to(REAL / "formats") for f in (REAL / "formats").rglob("*") if f.is_file())
    assert {file.as_posix() for file in files} == {*FORMATS, "corrupt.jpg"}


@pytest.mark.parametrize("image", FORMATS)
def test_an_image_is_complete_and_has_this_format_and_mode(image: str) -> None:
    look = fingerprint_of(f"formats/{image}")
    assert (look.status, look.format, look.mode) == ("ok", *FORMATS[image])


def test_the_corrupt_jpeg_is_undecodable() -> None:
    look = fingerprint_of("formats/corrupt.jpg")
    assert (look.status, look.problem) == ("undecodable", "no image format that Pillow knows")


def bits_apart(one: Fingerprint, other: Fingerprint) -> int:
    found = find_nearest(np.array([one.phash], np.uint64), np.array([other.phash], np.uint64))
    return int(found.distance_bits[0])


@pytest.mark.parametrize("image", MODES)
def test_one_photo_has_one_hash_in_every_mode(image: str) -> None:
    assert (
        bits_apart(fingerprint_of(f"formats/{image}"), fingerprint_of("formats/modes/RGB.jpg")) == 0
    )


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_image_with_an_orientation_has_an_upright_hash(orientation: int) -> None:
    look = fingerprint_of(f"formats/exif/exif-rotn-{orientation}.jpg")
    assert look.exif_orientation == orientation
    assert (look.phash_upright is None) == (orientation == 1)
    assert (look.width, look.height) == (4032, 3024)


BRIDGE = "near_duplicates/bridge-mods/aaa-orig.jpg"
# The second number is what each modification of the photo moves its hash by, in bits.
MODIFIED = {
    **{name: 0 for name in ("aaa-orig", "blur-a-little", "blur-a-lot", "high-contrast")},
    **{name: 0 for name in ("high-saturation", "shrink-a-little")},
    **{name: 0 for name in ("shrink-a-lot", "square-128x128", "square-256x256")},
    "square-512x512": 0,
    "sharpen-a-little": 2,
    "sharpen-a-lot": 4,
}


def test_every_modification_of_the_bridge_has_a_row() -> None:
    files = (REAL / "near_duplicates" / "bridge-mods").iterdir()
    assert {file.stem for file in files} == set(MODIFIED)


@pytest.mark.parametrize("name", MODIFIED)
def test_a_modified_bridge_has_this_distance_and_is_found(name: str) -> None:
    look = fingerprint_of(f"near_duplicates/bridge-mods/{name}.jpg")
    assert look.status == "ok"
    assert bits_apart(look, fingerprint_of(BRIDGE)) == MODIFIED[name] <= 10


DIHEDRAL = {
    "1-original": 0,
    "2-rotate-90": 32,
    "3-rotate-180": 32,
    "4-rotate-270": 28,
    "5-flipx": 32,
    "6-flipy": 32,
    "7-flip-plus-1": 30,
    "8-flip-minus-1": 30,
}


@pytest.mark.parametrize("name", DIHEDRAL)
def test_a_rotated_or_mirrored_bridge_is_not_found(name: str) -> None:
    look = fingerprint_of(f"near_duplicates/dihedral/bridge-{name}.jpg")
    assert look.status == "ok"
    assert bits_apart(look, fingerprint_of(BRIDGE)) == DIHEDRAL[name]


def test_unrelated_photos_do_not_match() -> None:
    names = [f.relative_to(REAL) for f in (REAL / "near_duplicates" / "photos").iterdir()]
    looks = [fingerprint_of(name.as_posix()) for name in names] + [fingerprint_of(BRIDGE)]
    assert len(looks) == 9
    closest = min(bits_apart(a, b) for n, a in enumerate(looks) for b in looks[:n])
    assert closest == 22
