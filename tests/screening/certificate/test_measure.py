"""A measurement counts each copy and each pair once."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from conftest import encoded, photo
from PIL import Image

from imp_data.screening.decontamination.certificate.alterations import ALTERATIONS
from imp_data.screening.decontamination.certificate.describe import Unreadable, describe
from imp_data.screening.decontamination.certificate.figures import (
    choose_threshold,
    matched_pairs,
    measurement_figures,
)
from imp_data.screening.decontamination.certificate.matchers import (
    BuildMatcher,
    Pairs,
    ThresholdMatcher,
)
from imp_data.screening.decontamination.certificate.measure import Measurement, measure
from imp_data.screening.decontamination.certificate.trial_images import TrialImage, half_of

pytestmark = pytest.mark.usefixtures("one_worker")


def stored(name: str, image: Image.Image) -> TrialImage:
    return TrialImage(name, "", name, "", partial(bytes, encoded(image)))


PHOTOS = [stored(f"photo {n}", photo(n, (80, 60))) for n in range(4)]
PAGE = stored("page", Image.new("RGB", (90, 60), "white"))


@dataclass(frozen=True)
class WidthMatcher(ThresholdMatcher):
    """Images match if their widths are equal; the value is the difference, in tenths of pixels."""

    threshold: float = 0.5
    loosest: float = 1
    name: str = "width"
    version: str = "1"
    unit: str = "tenths"
    step: float = 0.1

    def describe(self, data: bytes) -> int | None:
        from imp_data.images.decoding import decode_rgb

        width = decode_rgb(data).width
        return None if width < 20 else width

    def index(self, references: Sequence[int | None]) -> "WidthIndex":
        return WidthIndex(references)


@dataclass(frozen=True)
class WidthIndex:
    references: Sequence[int | None]

    def match(self, images: Sequence[int | None]) -> Iterator[Pairs]:
        for n, width in enumerate(images):
            for place, other in enumerate(self.references):
                if width and other and abs(width - other) <= 10:
                    yield Pairs(
                        np.array([n]), np.array([place]), np.array([abs(width - other) / 10])
                    )


def measured(images: list[TrialImage], places: list[int]) -> Measurement:
    matcher = WidthMatcher()
    described, broken = describe(images, (matcher,), "test")
    assert not broken
    (one,), broken = measure(described, places, (matcher,), "test")
    assert not broken
    return one


def test_a_copy_is_found_if_it_matches_its_own_original() -> None:
    figures = measurement_figures(measured(PHOTOS, [0, 2]))
    (name,) = figures["sets"]
    recall = {way: row["found"] for way, row in figures["sets"][name]["alterations"].items()}
    assert (name, figures["sets"][name]["images"]) == ("photo-like", 2)
    assert (recall["PNG"], recall["grey"], recall["mirrored"]) == (2, 2, 2)
    assert recall["cropped by 1 %"] == 2  # 80 and 80 px
    assert recall["cropped by 5 %"] == 2  # 76 px: 0.4
    assert recall["cropped by 10 %"] == 0  # 72 px: 0.8
    assert recall["half as large"] == 0
    assert recall["a tenth as large"] == 0  # without features
    group = figures["sets"][name]["groups"]["D"]
    assert (group["found"], group["of"], group["complete"]) == (4, 8, 0)  # tilted, moiré
    assert (group["goal"], group["recall"]) == (0.85, 0.5)


def test_false_matches_are_pairs_of_different_origins() -> None:
    again = stored("again", photo(0, (80, 60)))
    one = measured([*PHOTOS, again, PAGE], [0])
    rows = {(row["pairs_of"], row["altered"]): row for row in one_figures(one)["false_matches"]}
    # Four different photos, one of them twice: 10 pairs less the one of the same pixels.
    assert rows["photos", False]["pairs"] == rows["photos", False]["false"] == 9
    assert rows["photos and documents", False] == {
        "pairs_of": "photos and documents",
        "altered": False,
        "pairs": 5,
        "false": 0,
        "per_million": 0.0,
        "upper_per_million": 450_700.0,  # 1 - 0.05 ** (1 / 5)
    }
    assert rows["photos", True]["pairs"] == 3 * len(ALTERATIONS)
    copies = [pair for pair in one.matches if pair.copies]
    assert [{pair.image, pair.reference} for pair in copies] == [{"photo 0", "again"}]
    assert len(one.matches) == 10
    assert matched_pairs(one)["listed"][-1]["copies"]


def one_figures(one: Measurement) -> dict[str, list[dict[str, object]]]:
    return measurement_figures(one)


def test_a_curve_holds_each_threshold_and_contains_the_figures_in_use() -> None:
    one = measured([*PHOTOS, stored("wider", photo(9, (87, 60)))], [0])
    figures = measurement_figures(one)
    thresholds = [point["threshold"] for point in figures["curve"]]
    assert thresholds == [round(n / 10, 6) for n in range(11)]
    false = [point["photo_false"] for point in figures["curve"]]
    assert false == [6] * 7 + [10] * 4
    shares = [point["recall"]["photo-like"]["B"] for point in figures["curve"]]
    assert shares == sorted(shares)
    assert shares[5] == figures["sets"]["photo-like"]["groups"]["B"]["recall"]
    loose = measurement_figures(one, threshold=1)
    assert loose["sets"]["photo-like"]["groups"]["B"]["recall"] == shares[10]


def test_a_threshold_is_chosen_on_one_half_of_the_origins() -> None:
    # The pair of the other half matches at any threshold.
    widths = {8: 80, 0: 100, 1: 106, 10: 80}
    halves = [half_of(f"photo {n}") for n in widths]
    assert halves == ["held-out", "tune", "tune", "held-out"]
    images = [stored(f"photo {n}", photo(n, (w, 60))) for n, w in widths.items()]
    one = measured(images, [0, 1])
    assert choose_threshold(one, "tune") == 0.5
    assert choose_threshold(one, "held-out") == 0
    held_out = measurement_figures(one, half="held-out")
    assert held_out["sets"]["photo-like"]["images"] == 1
    assert [row["pairs"] for row in held_out["false_matches"]] == [1, len(ALTERATIONS)]


def test_documents_are_apart_from_photos() -> None:
    figures = measurement_figures(measured([*PHOTOS, PAGE], [0, 4]))
    images = {name: one["images"] for name, one in figures["sets"].items()}
    assert images == {"photo-like": 1, "document-like": 1}


def test_a_broken_image_is_left_out_and_stops_nothing() -> None:
    cut = TrialImage("cut", "", "cut", "", partial(bytes, encoded(photo(1))[:-200]))
    gone = TrialImage("gone", "", "gone", "", partial(open, "/no such image"))  # type: ignore[arg-type]
    described, broken = describe([PHOTOS[0], cut, gone], (BuildMatcher(),), "test")
    assert [one.image.name for one in described] == ["photo 0"]
    assert [one.name for one in broken] == ["cut", "gone"]
    assert "truncated" in broken[0].problem
    torn = described[0]._replace(image=cut)
    (one,), unaltered = measure([described[0], torn], [0, 1], (BuildMatcher(),), "test")
    assert one.altered == [0]
    assert unaltered == [Unreadable("cut", broken[0].problem)]


def test_the_figures_are_the_same_in_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest() -> str:
        described, _ = describe(PHOTOS, (BuildMatcher(),), "test")
        (one,), _ = measure(described, [1, 3], (BuildMatcher(),), "test")
        return hashlib.sha256(repr(measurement_figures(one)).encode()).hexdigest()

    alone = digest()
    monkeypatch.setenv("IMP_WORKERS", "2")
    assert digest() == alone
