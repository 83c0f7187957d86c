"""Recall of altered copies is measured exactly."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import World, encoded, lay_album, photo, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imp_data.images.fingerprint import Fingerprint, fingerprint_image
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits
from imp_data.pipeline.checks import Finding, benchmark_checks
from imp_data.screening.decontamination.augmentations import ALTERATIONS, altered
from imp_data.screening.decontamination.recall import (
    choose_sample,
    hash_altered_copies,
    hash_image,
    measure_recall,
    min_distance_bits,
    plain_copy,
    recall_within,
)

pytestmark = pytest.mark.usefixtures("one_worker")
PHOTOS = [photo(seed, (160, 120)) for seed in range(6)]


def opened(data: bytes) -> Image.Image:
    return plain_copy(data)


def seen(folder: Path, images: list[Image.Image]) -> tuple[list[Fingerprint], ImageReader]:
    """Fingerprints of these images, and the reader on which they lie."""
    reader = ImageReader(folder, folder, ())
    for n, image in enumerate(images):
        (folder / f"{n}.png").write_bytes(encoded(image))
    return [fingerprint_image(f"{n}.png", reader, Limits()) for n in range(len(images))], reader


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("JPEG, quality 50", (400, 200)),
        ("half as large", (200, 100)),
        ("a quarter as large", (100, 50)),
        ("half as large again", (600, 300)),
        ("squeezed to a square", (200, 200)),
        ("cropped by 5 %", (380, 190)),
        ("white border of 5 %", (420, 220)),
        ("turned 90°", (200, 400)),
    ],
)
def test_an_alteration_changes_the_size_by_its_name(name: str, size: tuple[int, int]) -> None:
    assert opened(altered(photo(1, (400, 200)), ALTERATIONS[name])).size == size


def test_other_alterations_change_the_pixels_by_their_names() -> None:
    flat = Image.new("RGB", (100, 80), (100, 150, 200))

    def colour(name: str, place: tuple[int, int] = (50, 40)) -> tuple[int, ...]:
        copy = opened(altered(flat, ALTERATIONS[name]._replace(form="PNG", options={})))
        found = copy.getpixel(place)
        assert isinstance(found, tuple)
        return found

    assert colour("brightness 0.7") == (70, 105, 140)
    assert colour("gamma 1.4") == tuple(round(255 * (v / 255) ** 1.4) for v in (100, 150, 200))
    assert colour("grey") == (141, 141, 141)
    assert colour("black border of 2 %", (0, 0)) == (0, 0, 0)
    assert colour("line of text", (0, 0)) == (100, 150, 200)
    for writing in ("line of text", "watermark"):
        copy = opened(altered(flat, ALTERATIONS[writing]))
        assert len(set(copy.get_flattened_data())) > 100


def test_a_copy_that_exif_turns_has_the_upright_hash_of_the_original() -> None:
    copy = altered(PHOTOS[0], ALTERATIONS["turned 90°, EXIF turns it back"])
    original = hash_image(encoded(PHOTOS[0]))
    stored, upright = np.bitwise_count(hash_image(copy) ^ original)
    assert stored > 10
    assert upright <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (8, 8), (9, 7)])
def test_every_alteration_accepts_an_image_of_any_size(size: tuple[int, int]) -> None:
    assert len(hash_altered_copies(encoded(photo(2, size)))) == len(ALTERATIONS)


def test_a_flat_copy_has_no_hash_and_counts_as_not_found(tmp_path: Path) -> None:
    pale = photo(1).point(lambda level: 120 + level // 20)
    rows, reader = seen(tmp_path, [pale, PHOTOS[1]])
    assert rows[0].phash is not None
    paler = ALTERATIONS["contrast 0.7"]
    assert hash_altered_copies(encoded(pale), {"contrast 0.7": paler}) == [None]
    figures = measure_recall(rows, [0], reader, Limits())
    assert figures["bits"]["contrast 0.7"] == {"32": 1}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_images_of_any_mode_are_altered(mode: str) -> None:
    grey = PHOTOS[0].convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey, np.uint16) * 256)
    else:
        image = PHOTOS[0].convert(mode)
    same = {"PNG": ALTERATIONS["PNG"]}
    (copy,) = hash_altered_copies(encoded(image), same)
    assert copy is not None
    assert min_distance_bits(copy, hash_image(encoded(image))) == 0


def test_a_very_large_image_is_reduced_before_it_is_altered() -> None:
    assert opened(encoded(photo(1, (4000, 1000)), "JPEG")).size == (2000, 500)


def test_an_unaltered_copy_is_always_found_and_an_unrelated_image_never(tmp_path: Path) -> None:
    rows, reader = seen(tmp_path, PHOTOS)
    figures = measure_recall(rows, [0, 2, 5], reader, Limits())
    assert figures["images"] == 3
    assert list(figures["bits"]) == list(ALTERATIONS)
    assert figures["bits"]["PNG"] == {"0": 3}
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
    again = sum(count for b in figures["bits"].values() for d, count in b.items() if int(d) <= 10)
    assert recall_within(figures, 10)["false"] == again


def test_recall_is_the_share_of_copies_within_the_distance() -> None:
    bits = {"PNG": {"0": 3, "10": 1}, "grey": {"4": 1, "11": 2, "32": 1}, "mirrored": {"30": 4}}
    other = {"9": 2, "10": 1, "11": 5, "32": 92}
    figures = {"images": 4, "bits": bits, "other": other, "imagehash": {"0": 3, "2": 1}}
    assert recall_within(figures, 10) == {
        "images": 4,
        "recall": {"PNG": 1.0, "grey": 0.25, "mirrored": 0.0},
        "near": 0.625,  # mirrored images are tried, and not promised
        "false": 3,
        "pairs": 100,
        "imagehash_bits": 2,
    }
    assert recall_within(figures, 0)["recall"] == {"PNG": 0.75, "grey": 0.0, "mirrored": 0.0}


@given(st.lists(st.text(max_size=8), unique=True, max_size=40), st.integers(0, 12), st.text())
def test_one_more_image_changes_at_most_one_of_the_sample(
    names: list[str], most: int, more: str
) -> None:
    chosen = {names[place] for place in choose_sample(names, most)}
    assert len(chosen) == min(most, len(names))
    assert chosen == {names[::-1][place] for place in choose_sample(names[::-1], most)}
    others = [*names, more] if more not in names else names
    assert len(chosen - {others[place] for place in choose_sample(others, most)}) <= 1


def test_the_distance_of_images_is_that_of_their_nearest_hashes() -> None:
    one = np.array([0b1111, 0b0011], np.uint64)
    others = np.array([[0b0000, 0b0001], [0b1111, 0b1111]], np.uint64)
    assert min_distance_bits(one, others).tolist() == [1, 0]


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
