"""Recall of altered copies is measured exactly."""

import json
from pathlib import Path

import pytest
from conftest import World, encoded, lay_album, photo, run
from PIL import Image

from imp_data.images.fingerprint import Fingerprint, fingerprint_image
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits
from imp_data.pipeline.checks import Finding, benchmark_checks
from imp_data.screening.decontamination.certificate.alterations import ALTERATIONS
from imp_data.screening.decontamination.recall import measure_recall, recall_within

pytestmark = pytest.mark.usefixtures("one_worker")
PHOTOS = [photo(seed, (160, 120)) for seed in range(6)]


def seen(folder: Path, images: list[Image.Image]) -> tuple[list[Fingerprint], ImageReader]:
    """Fingerprints of these images, and the reader on which they lie."""
    reader = ImageReader(folder, folder, ())
    for n, image in enumerate(images):
        (folder / f"{n}.png").write_bytes(encoded(image))
    return [fingerprint_image(f"{n}.png", reader, Limits()) for n in range(len(images))], reader


def test_a_flat_copy_has_no_hash_and_counts_as_not_found(tmp_path: Path) -> None:
    pale = photo(1).point(lambda level: 120 + level // 20)
    rows, reader = seen(tmp_path, [pale, PHOTOS[1]])
    assert rows[0].phash is not None
    figures = measure_recall(rows, [0], reader, Limits())
    assert figures["nearest"]["contrast 0.7"] == [32]


def test_an_unaltered_copy_is_always_found_and_an_unrelated_image_never(tmp_path: Path) -> None:
    rows, reader = seen(tmp_path, PHOTOS)
    figures = measure_recall(rows, [0, 2, 5], reader, Limits())
    assert figures["images"] == 3
    assert list(figures["nearest"]) == list(ALTERATIONS)
    assert figures["nearest"]["PNG"] == [0, 0, 0]
    assert figures["imagehash"] == {"0": 3}
    told = recall_within(figures, 10)
    assert told["recall"]["PNG"] == 1.0
    assert told["recall"]["JPEG, quality 70"] == 1.0
    assert told["recall"]["mirrored"] == 0.0
    assert (told["false"], told["pairs"]) == (0, 3 * len(ALTERATIONS) * (len(PHOTOS) - 1))


def test_another_image_that_is_the_same_counts_as_a_false_match(tmp_path: Path) -> None:
    rows, reader = seen(tmp_path, [PHOTOS[0], PHOTOS[1], PHOTOS[0]])
    told = recall_within(measure_recall(rows, [1], reader, Limits()), 10)
    assert told["false"] == 0
    figures = measure_recall(rows, [0], reader, Limits())
    # Each copy that is known again is as near to the twin as to its own image.
    again = sum(bits <= 10 for (bits,) in figures["nearest"].values())
    assert again > len(ALTERATIONS) / 3
    assert recall_within(figures, 10)["false"] == again


def test_recall_is_the_share_of_copies_within_the_distance() -> None:
    nearest = {name: [0, 0, 0, 0] for name in ALTERATIONS}
    nearest |= {"PNG": [0, 0, 0, 10], "grey": [4, 11, 11, 32], "mirrored": [30, 30, 30, 30]}
    other = {"9": 2, "10": 1, "11": 5, "32": 92}
    figures = {"images": 4, "nearest": nearest, "other": other, "imagehash": {"0": 3, "2": 1}}
    told = recall_within(figures, 10)
    recall = told.pop("recall")
    assert {name: share for name, share in recall.items() if share < 1} == {
        "grey": 0.25,
        "mirrored": 0.0,
    }
    groups = told.pop("groups")
    assert groups["A"] == {
        "title": "re-encoding, size, tone, blur, noise",
        "found": 137,
        "of": 140,
        "recall": 0.9786,
        "low": 0.9389,
        "high": 0.9927,
    }
    assert (groups["B"]["found"], groups["B"]["of"]) == (108, 112)
    assert told == {
        "images": 4,
        "near": 0.9786,  # group A alone: mirrored images are tried, and not promised
        "false": 3,
        "pairs": 100,
        "imagehash_bits": 2,
    }
    assert recall_within(figures, 0)["recall"]["PNG"] == 0.75


def check(world: World, **rule: float) -> Finding:
    """Return the findings of the check `recall` with one altered image."""
    rules = [{"benchmark": "quiz", "max_distance_bits": 10, **rule}]
    build = world.build({"photos": 8}, decontaminate=rules)
    run(build)
    return next(c for c in benchmark_checks(build, "quiz") if c.name == "recall").find()


def test_each_build_reports_the_recall_of_the_benchmark_s_images(world: World) -> None:
    lay_album(world)
    found = check(world, min_recall=0.5)
    assert (found.passed, found.problems) == (True, [])
    assert (found.figures["PNG"], found.figures["mirrored"]) == (1.0, 0.0)
    facts = json.loads((world.data.mixture("small") / "mixture.json").read_bytes())
    altered = facts["benchmarks"][0]["altered"]
    assert (altered["images"], altered["pairs"]) == (1, 0)  # it has no other image
    assert altered["near"] == found.figures["recall"]


def test_low_recall_gives_a_warning(world: World) -> None:
    lay_album(world)
    # Within 0 bits not even an image that was scaled is found every time.
    found = check(world, max_distance_bits=0, min_recall=1)
    recall = found.figures["recall"]
    assert found.problems == [f"recall on slight alterations: {recall}, 1.0 required"]
    assert not found.passed


def test_without_altered_images_no_recall_is_reported(world: World) -> None:
    lay_album(world)
    assert check(world, altered_images=0) == Finding(True, {"measured": "no"}, [])
    facts = json.loads((world.data.mixture("small") / "mixture.json").read_bytes())
    assert facts["benchmarks"][0]["altered"] is None
