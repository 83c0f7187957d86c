"""An image is described by boxes, hashes and a thumbnail of less than a kilobyte."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps
from scenes import chart, scene

from imp_data.images.copy_detection.boxes import Box, find_boxes
from imp_data.images.copy_detection.document_like import frequent_level_percent, is_document_like
from imp_data.images.copy_detection.features import FEATURES_TYPE, describe_image
from imp_data.images.copy_detection.grey import area_weights, deviation, halve, reduce_grey
from imp_data.images.copy_detection.hashes import WHOLE, Region, region_hashes
from imp_data.images.copy_detection.thumbnail import decode_thumbnail, encode_thumbnail

MIRRORED = Region(1, 0, 0, 1)


def boxes_of(image: Image.Image) -> list[tuple[int, ...]]:
    return [tuple(box) for box in find_boxes(reduce_grey(image.convert("L")))]


def test_an_image_is_reduced_to_the_means_of_its_areas() -> None:
    grey = np.zeros((256, 512), np.uint8)
    grey[:2, :4] = [[10, 20, 30, 40], [50, 60, 70, 80]]
    assert reduce_grey(grey)[:2, :2].tolist() == [[45, 0], [0, 0]]
    assert halve(np.array([[1, 2, 0, 0], [2, 1, 0, 255]], np.uint8)).tolist() == [[2, 64]]


def test_a_column_that_is_image_in_part_counts_in_part() -> None:
    grey = np.zeros((128, 129), np.uint8)
    grey[:, 128] = 200
    assert reduce_grey(grey)[:, -1].max() > 0
    assert reduce_grey(grey, extent=(128, 128))[:, -1].max() == 0


def test_the_deviation_is_exact() -> None:
    assert deviation(np.array([[0, 0], [255, 255]], np.uint8)) == 127.5
    assert deviation(np.full((64, 64), 77, np.uint8)) == 0


def test_area_weights_divide_each_pixel_among_the_cells() -> None:
    assert area_weights(0, 1, 2, 3).tolist() == pytest.approx(
        np.array([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    )
    assert area_weights(1, 0, 2, 4).tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.5, 0, 0]]
    assert area_weights(-0.5, 0.5, 2, 2).tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (scene(1), [(0, 0, 128, 128)]),
        (
            ImageOps.expand(scene(1, (200, 200)), 28, "white"),
            [(0, 0, 128, 128), (14, 14, 114, 114)],
        ),
        (
            ImageOps.expand(scene(1, (256, 192)), (0, 32), "black"),
            [(0, 0, 128, 128), (0, 16, 128, 112)],
        ),
    ],
    ids=["no frame", "frame", "bars"],
)
def test_even_lines_at_the_edges_are_a_frame(
    image: Image.Image, found: list[tuple[int, ...]]
) -> None:
    assert boxes_of(image) == found


def test_a_bar_with_text_is_found_by_its_level() -> None:
    image = ImageOps.expand(scene(1, (256, 192)), (0, 0, 0, 64), "white")
    ImageDraw.Draw(image).text((10, 205), "A caption below it", "black", font_size=20)
    assert boxes_of(image)[-1] == (0, 0, 128, 96)


def test_a_box_of_less_than_an_image_of_its_own_is_left_out() -> None:
    small = ImageOps.expand(scene(1, (64, 64)), 64, "white")
    assert boxes_of(small) == [(0, 0, 128, 128)]


def test_both_hashes_of_a_mirrored_image_are_those_of_its_mirrored_region() -> None:
    grey = reduce_grey(scene(2).convert("L"))
    assert region_hashes(grey[None, :, ::-1], WHOLE) == region_hashes(grey[None], MIRRORED)
    transposed = region_hashes(grey.T[None].copy(), WHOLE)
    assert transposed == region_hashes(grey[None], WHOLE, transposed=True)


@given(st.integers(0, 255), st.integers(1, 20))
def test_what_is_beyond_the_image_has_the_level_of_the_fill(fill: int, pad: int) -> None:
    inner = halve(reduce_grey(scene(3).convert("L")))[:60, :60]
    outer = np.full((60 + 2 * pad, 60 + 2 * pad), fill, np.uint8)
    outer[pad:-pad, pad:-pad] = inner
    share = pad / 60
    region = Region(-share, -share, 1 + share, 1 + share)
    some, same = region_hashes(inner[None], region, fill), region_hashes(outer[None], WHOLE)
    # The scales differ, so equal frequencies may differ in the last digit.
    assert all(np.bitwise_count(a ^ b) <= 1 for a, b in zip(some, same, strict=True))


@given(st.integers(0, 2**32 - 1), st.integers(1, 128))
def test_a_thumbnail_takes_at_most_900_bytes_whatever_the_image(seed: int, amount: int) -> None:
    noise = np.random.default_rng(seed).integers(128 - amount, 127 + amount, (64, 64), np.uint8)
    data = encode_thumbnail(noise)
    assert len(data) <= 900
    assert decode_thumbnail(data).shape == (64, 64)


def test_a_thumbnail_is_close_to_its_image() -> None:
    grey = halve(reduce_grey(scene(4).convert("L")))
    off = decode_thumbnail(encode_thumbnail(grey)).astype(int) - grey
    assert abs(off).mean() < 8


@pytest.mark.parametrize("data", [b"", b"\7abc", b"\0"])
def test_bytes_that_are_no_thumbnail_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_thumbnail(data)


def test_the_six_most_frequent_levels_tell_a_chart_from_a_scene() -> None:
    percents = [
        frequent_level_percent(reduce_grey(image.convert("L")))
        for image in (chart([30, 80, 55]), scene(1))
    ]
    assert [is_document_like(percent) for percent in percents] == [True, False]
    assert percents[0] > 90
    assert percents[1] < 50
    assert frequent_level_percent(np.zeros((128, 128), np.uint8)) == 100


def test_a_nearly_empty_image_has_no_hashes() -> None:
    page = Image.new("L", (300, 400), 250)
    ImageDraw.Draw(page).line((20, 20, 60, 20), 0)
    features = describe_image(page)
    assert features.boxes == features.phashes == features.block_hashes == ()
    assert features.deviation < 4


def test_features_are_rows_of_a_table() -> None:
    features = describe_image(scene(5))
    assert features.boxes == (Box(0, 0, 128, 128),)
    rows = pa.array([features._asdict()], FEATURES_TYPE).to_pylist()
    assert rows[0]["phashes"] == list(features.phashes)
    assert rows[0]["thumbnail"] == features.thumbnail
    assert [Box(*box) for box in rows[0]["boxes"]] == list(features.boxes)
