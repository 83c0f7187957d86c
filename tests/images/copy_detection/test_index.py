"""Altered copies match their references, and other images do not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from scenes import chart, scene

from imp_data.images.copy_detection.content_test import compare_content
from imp_data.images.copy_detection.features import describe_image
from imp_data.images.copy_detection.index import CopyIndex, Match
from imp_data.images.copy_detection.verdicts import judge

NAMES = [f"scene {seed}" for seed in range(6)]
INDEX = CopyIndex.build(NAMES, [describe_image(scene(seed)) for seed in range(6)])


def captioned(image: Image.Image) -> Image.Image:
    bar = ImageOps.expand(image, (0, 0, 0, 48), "white")
    ImageDraw.Draw(bar).text((10, 246), "When you see it", "black", font_size=24)
    return bar


def in_a_screenshot(image: Image.Image) -> Image.Image:
    screen = Image.new("RGB", (420, 400), "#f4f4f6")
    ImageDraw.Draw(screen).text((12, 10), "12:41  photos.example.org", "black", font_size=18)
    screen.paste(image, (50, 60))
    return screen


def overwritten(image: Image.Image) -> Image.Image:
    copy = image.copy()
    ImageDraw.Draw(copy).text((20, 100), "© Agency", "white", font_size=40)
    return copy


COPIES = {
    "itself": lambda image: image,
    "an eighth of the pixels": lambda image: image.resize((112, 84)),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "squeezed": lambda image: image.resize((240, 240)),
    "cropped to 80 %": lambda image: image.crop((20, 10, 306, 225)),
    "cropped to 64 %": lambda image: image.crop((32, 24, 288, 216)),
    "one side cut": lambda image: image.crop((0, 0, 272, 240)),
    "framed": lambda image: ImageOps.expand(image, 30, "white"),
    "letterboxed": lambda image: ImageOps.expand(image, (0, 40), "black"),
    "captioned": captioned,
    "in a screenshot": in_a_screenshot,
    "overwritten": overwritten,
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 270 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "turned by 5 degrees": lambda image: image.rotate(5),
    "turned by -10 degrees": lambda image: image.rotate(-10),
}


def matched(image: Image.Image, index: CopyIndex = INDEX) -> Match | None:
    return index.match([describe_image(image)])[0]


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_matches_its_reference(name: str) -> None:
    for seed in (0, 3):
        match = matched(COPIES[name](scene(seed)))
        assert match is not None
        assert (match.reference, match.verdict) == (f"scene {seed}", "copy")
        assert match.score >= 0.6


def test_a_match_states_what_it_rests_on() -> None:
    match = matched(ImageOps.expand(ImageOps.mirror(scene(2)), 30, "black"))
    assert match is not None
    assert match.box == (10, 13, 118, 115)
    assert match.variant.region.left > match.variant.region.right
    assert match.distance_bits <= 10
    assert match.block_distance_bits <= 20
    assert not match.document_like


@pytest.mark.parametrize("name", ["itself", "in a screenshot", "framed", "cropped to 64 %"])
def test_another_image_matches_nothing(name: str) -> None:
    for seed in range(100, 110):
        match = matched(COPIES[name](scene(seed)))
        assert match is None or match.verdict is None


def test_all_pairs_are_listed_with_their_scores_whatever_the_threshold() -> None:
    features = [describe_image(ImageOps.mirror(scene(seed))) for seed in (4, 1)]
    for least, verdict in ((0.6, "copy"), (1.01, None)):
        found = INDEX.match_all(features, least)
        assert [[(m.reference, m.verdict) for m in some] for some in found] == [
            [("scene 4", verdict)],
            [("scene 1", verdict)],
        ]


def test_a_match_is_the_same_alone_and_among_others() -> None:
    features = [describe_image(change(scene(1))) for change in COPIES.values()]
    assert INDEX.match(features) == [INDEX.match([one])[0] for one in features]


def test_a_chart_and_its_sibling_are_reported_and_not_called_copies() -> None:
    first, second = chart([30, 80, 55, 20]), chart([30, 80, 50, 20])
    index = CopyIndex.build(["chart", "scene"], [describe_image(i) for i in (first, scene(1))])
    for image in (first, second):
        match = matched(image, index)
        assert match is not None
        assert (match.reference, match.document_like, match.verdict) == ("chart", True, "report")


def test_only_the_content_test_tells_a_chart_from_its_sibling() -> None:
    first, second = chart([30, 80, 55, 20]), chart([30, 80, 50, 20])
    enlarged = first.resize((480, 360), Image.Resampling.BICUBIC)
    assert compare_content(first, first).same
    assert compare_content(enlarged, first).same
    assert not compare_content(second, first).same
    assert not compare_content(Image.new("L", (320, 240), 255), first).same


def test_images_without_content_are_not_the_same() -> None:
    empty = Image.new("L", (320, 240), 255)
    assert compare_content(empty, empty) == (0, 0)
    assert not compare_content(empty, empty).same


def test_a_copy_comes_before_a_pair_to_report() -> None:
    assert judge(0.6, document_like=False) == "copy"
    assert judge(0.6, document_like=True) == "report"
    assert judge(0.59, document_like=False) is None
    assert judge(0.8, document_like=False, least_score=0.9) is None


def test_nearly_empty_images_and_an_empty_index_match_nothing() -> None:
    empty = describe_image(np.full((200, 200), 250, np.uint8))
    assert CopyIndex.build(["empty"], [empty]).match([empty, describe_image(scene(1))]) == [
        None,
        None,
    ]
    assert CopyIndex.build([], []).match([describe_image(scene(1))]) == [None]
    assert INDEX.match([]) == []
