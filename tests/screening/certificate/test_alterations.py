"""Alterations do what their names say, and the same each time."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from conftest import encoded, photo
from PIL import Image

from imp_data.screening.decontamination.certificate import transforms
from imp_data.screening.decontamination.certificate.alterations import (
    ALTERATIONS,
    GROUPS,
    altered,
    copy_seed,
    plain_copy,
)
from imp_data.screening.decontamination.certificate.matchers import BuildMatcher

PHOTO = photo(1, (400, 200))


def opened(data: bytes) -> Image.Image:
    return plain_copy(data)


def test_groups_have_so_many_alterations() -> None:
    counts = Counter(alteration.group for alteration in ALTERATIONS.values())
    assert counts == {"A": 35, "B": 28, "C": 8, "D": 4, "E": 10}
    assert list(counts) == list(GROUPS)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("JPEG, quality 50", (400, 200)),
        ("half as large", (200, 100)),
        ("a quarter as large", (100, 50)),
        ("a tenth as large", (40, 20)),
        ("half as large again", (600, 300)),
        ("squeezed to a square", (200, 200)),
        ("25 % wider", (500, 200)),
        ("cropped by 5 %", (380, 190)),
        ("crop to 75 % of the area", (346, 173)),
        ("crop to 60 %, anywhere", (310, 155)),
        ("white border of 5 %", (420, 220)),
        ("white margin of 20 % on two sides", (480, 240)),
        ("white bars to a square", (400, 400)),
        ("black bars to 21:9", (467, 200)),
        ("screenshot of a page", (448, 240)),
        ("caption bar above", (400, 228)),
        ("turned 90°", (200, 400)),
        ("tilted by 10°", (400, 200)),
        ("half of a collage", (800, 200)),
    ],
)
def test_an_alteration_changes_the_size_by_its_name(name: str, size: tuple[int, int]) -> None:
    assert opened(altered(PHOTO, ALTERATIONS[name])).size == size


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("cropped by 1 %", 0.98),
        ("cropped by 10 %", 0.81),
        ("crop to 80 % of the area", 0.8),
        ("one side cut by 20 %", 0.8),
        ("crop to 75 %, anywhere", 0.75),
        ("crop to 60 % of the area", 0.6),
        ("crop to 50 %, anywhere", 0.5),
    ],
)
def test_crops_keep_the_share_of_the_area_that_they_name(name: str, share: float) -> None:
    width, height = opened(altered(PHOTO, ALTERATIONS[name])).size
    assert width * height / (400 * 200) == pytest.approx(share, abs=0.01)


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
    assert colour("warmer") == (112, 150, 172)
    assert colour("negative") == (155, 105, 55)
    assert colour("16 levels a colour") == (96, 144, 192)
    assert colour("black border of 2 %", (0, 0)) == (0, 0, 0)
    assert colour("white margin of 20 % on two sides", (119, 95)) == (255, 255, 255)
    assert colour("round corners", (0, 0)) == (255, 255, 255)
    assert colour("corners darker by 40 %", (0, 0)) < (65, 95, 130)
    assert colour("line of text", (0, 0)) == (100, 150, 200)
    for writing in ("line of text", "watermark", "headlines", "box of text on 10 %"):
        copy = opened(altered(flat, ALTERATIONS[writing]))
        assert len(set(copy.get_flattened_data())) > 100


def test_marks_cover_the_share_of_the_area_that_they_name() -> None:
    white = Image.new("RGB", (300, 200), "white")
    black = Image.new("RGB", (300, 200), "black")

    def covered(name: str, on: Image.Image) -> float:
        alteration = ALTERATIONS[name]._replace(form="PNG", options={})
        changed = np.asarray(opened(altered(on, alteration))) != np.asarray(on)
        return float(changed.any(axis=2).mean())

    assert covered("logo on 2 %", white) == pytest.approx(0.02, abs=0.003)
    assert covered("box of text on 10 %", black) == pytest.approx(0.1, abs=0.01)


def test_noise_has_the_deviation_that_it_names() -> None:
    grey = Image.new("RGB", (400, 300), (128, 128, 128))
    noisy = transforms.add_noise(grey, 12, np.random.default_rng(1))
    levels = np.asarray(noisy, np.float64)
    assert levels.std() == pytest.approx(12, abs=0.1)
    specks = np.asarray(transforms.add_specks(grey, 0.01, np.random.default_rng(1)))
    assert (specks != 128).mean() == pytest.approx(0.01, abs=0.001)


def test_the_same_seed_gives_the_same_copy_and_another_seed_another() -> None:
    for name in ("crop to 60 %, anywhere", "noise of 12 levels", "one side cut by 20 %"):
        copies = [altered(PHOTO, ALTERATIONS[name], seed) for seed in (3, 3, 4, 5, 6)]
        assert copies[0] == copies[1]
        assert len(set(copies)) > 2
    assert copy_seed("a", "bc") != copy_seed("ab", "c")


def test_no_alteration_changes_its_image() -> None:
    image = PHOTO.copy()
    before = hashlib.sha256(image.tobytes()).digest()
    copies = [altered(image, alteration) for alteration in ALTERATIONS.values()]
    assert hashlib.sha256(image.tobytes()).digest() == before
    assert len(set(copies)) == len(ALTERATIONS) - 1  # sharpening leaves a smooth image as it is


def test_a_copy_that_exif_turns_has_the_upright_hash_of_the_original() -> None:
    image = photo(0, (160, 120))
    copy = altered(image, ALTERATIONS["turned 90°, EXIF turns it back"])
    matcher = BuildMatcher()
    original, turned = matcher.describe(encoded(image)), matcher.describe(copy)
    assert original is not None and turned is not None
    stored, upright = np.bitwise_count(turned ^ original)
    assert stored > 10
    assert upright <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (8, 8), (9, 7)])
def test_every_alteration_accepts_an_image_of_any_size(size: tuple[int, int]) -> None:
    for alteration in ALTERATIONS.values():
        assert opened(altered(photo(2, size), alteration)).width >= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_images_of_any_mode_are_altered(mode: str) -> None:
    grey = photo(0, (160, 120)).convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey, np.uint16) * 256)
    else:
        image = photo(0, (160, 120)).convert(mode)
    copy = altered(plain_copy(encoded(image)), ALTERATIONS["PNG"])
    matcher = BuildMatcher()
    assert matcher.describe(copy) == pytest.approx(matcher.describe(encoded(image)))


def test_a_very_large_image_is_reduced_before_it_is_altered() -> None:
    assert opened(encoded(photo(1, (4000, 1000)), "JPEG")).size == (1024, 256)
