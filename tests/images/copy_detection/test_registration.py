"""Aligned thumbnails score by their fine structure, equally on every processor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scenes import scene

from imp_data.images.copy_detection import registration
from imp_data.images.copy_detection.boxes import WHOLE_BOX, Box
from imp_data.images.copy_detection.grey import Grey, Numbers, halve, reduce_grey
from imp_data.images.copy_detection.hashes import Region
from imp_data.images.copy_detection.registration import register, solve
from imp_data.images.copy_detection.sampling import centred, fine_structure, levels_of, sample
from imp_data.images.copy_detection.score import score_pairs
from imp_data.images.copy_detection.variants import (
    VARIANTS,
    Variant,
    nearest_aspect,
    variant_hashes,
)

SAME = centred(np.array([[[1.0, 0, 0], [0, 1, 0]]]))


def small(image: Image.Image) -> Grey:
    return halve(reduce_grey(image.convert("L")))[None]


def aligned(query: Grey, reference: Grey, start: Numbers = SAME) -> tuple[Numbers, float]:
    maps = register(query, SAME, reference, start)
    boxes = [WHOLE_BOX] * len(query)
    score = score_pairs(query, SAME, reference, maps, (boxes, boxes))
    return maps[0], float(score[0])


def test_coordinates_run_from_minus_one_to_one() -> None:
    crop = np.array([[[0.5, 0, 0.25], [0, 0.5, 0.5]]])
    assert centred(crop).tolist() == [[[0.5, 0, 0], [0, 0.5, 0.5]]]


def test_the_identity_samples_each_pixel() -> None:
    levels = np.arange(64 * 64, dtype=np.int32).reshape(1, 64, 64)
    found = sample(levels, SAME, 64)
    assert found.levels.tolist() == levels.tolist()
    assert found.inside.all()


def test_between_pixels_levels_are_interpolated_and_beyond_them_repeated() -> None:
    levels = np.tile(np.arange(0, 640, 10, dtype=np.int32), (64, 1))[None]
    moved = SAME + np.array([[0, 0, 1 / 64], [0, 0, 0]])
    found = sample(levels, moved, 64)
    assert found.levels[0, 0, :3].tolist() == [5, 15, 25]
    far = sample(levels, SAME + np.array([[0, 0, 0.5], [0, 0, 0]]), 64)
    assert far.levels[0, 0, -1] == 630
    assert far.inside[0, 0].tolist() == [True] * 48 + [False] * 16


def test_fine_structure_is_what_differs_from_the_surroundings() -> None:
    levels = np.full((1, 64, 64), 100, np.int32)
    assert not fine_structure(levels, 9).any()
    levels[0, 32, 32] = 181
    assert fine_structure(levels, 9)[0, 32, 31:33].tolist() == [-1, 80]


@given(
    st.floats(-0.06, 0.06), st.floats(-0.06, 0.06), st.floats(0.92, 1.08), st.floats(-0.05, 0.05)
)
def test_registration_finds_the_map_of_a_copy(
    across: float, down: float, scale: float, shear: float
) -> None:
    reference = small(scene(6))
    true = np.array([[[scale, shear, across], [-shear, scale, down]]])
    copied = sample(reference.astype(np.int32), true, 64).levels.astype(np.uint8)
    found, score = aligned(copied, reference)
    assert found == pytest.approx(true[0], abs=0.01)
    assert score >= 0.9


def test_tone_does_not_matter_to_the_map_or_the_score() -> None:
    reference = small(scene(7))
    darker = (reference // 3 + 20).astype(np.uint8)
    found, score = aligned(darker, reference)
    assert found == pytest.approx(SAME[0], abs=0.01)
    assert score >= 0.95


def test_an_image_scores_one_with_itself_and_little_with_others_or_its_negative() -> None:
    image = small(scene(8))
    assert aligned(image, image)[1] == 1
    assert max(aligned(image, small(scene(seed)))[1] for seed in range(9, 19)) < 0.4
    assert aligned(image, 255 - image)[1] < 0


def test_an_even_image_scores_nothing() -> None:
    even = np.full((1, 64, 64), 90, np.uint8)
    assert aligned(even, even)[1] == 0
    assert aligned(even, small(scene(1)))[1] == 0


def test_equal_frames_do_not_make_equal_images() -> None:
    framed = [np.full((1, 64, 64), 255, np.uint8) for _ in range(2)]
    for place, each in enumerate(framed):
        each[:, 10:54, 10:54] = small(scene(place))[:, 10:54, 10:54]
    boxes = [Box(20, 20, 108, 108)]
    inner = score_pairs(framed[0], SAME, framed[1], SAME, (boxes, boxes))
    whole = score_pairs(framed[0], SAME, framed[1], SAME, ([WHOLE_BOX], [WHOLE_BOX]))
    assert inner[0] < 0.2 < whole[0]


def test_a_pair_has_the_same_score_alone_and_among_others() -> None:
    greys = np.concatenate([small(scene(seed)) for seed in range(4)])
    others = np.roll(greys, 1, axis=0)
    many = np.repeat(SAME, 4, axis=0)
    together = register(greys, many, others, many)
    alone = [register(greys[n : n + 1], SAME, others[n : n + 1], SAME)[0] for n in range(4)]
    assert together.tolist() == np.stack(alone).tolist()


def test_sums_are_whole_numbers_so_that_no_order_of_addition_changes_them() -> None:
    levels = fine_structure(levels_of(small(scene(1)), 32), 15)
    columns = registration._columns(levels, 1) * 16
    products = columns @ columns.transpose(0, 2, 1)
    whole = columns.astype(np.int64)
    assert products.astype(np.int64).tolist() == (whole @ whole.transpose(0, 2, 1)).tolist()
    assert abs(products).max() < 2**53


def test_systems_are_solved_and_what_is_undetermined_is_zero() -> None:
    matrices = np.array([[[4.0, 2], [2, 3]], [[2.0, 0], [0, 0]], [[1e12, 1e12], [1e12, 1e12]]])
    targets = np.array([[10.0, 8], [6, 0], [1e12, 1e12]])
    assert solve(matrices, targets).tolist() == pytest.approx(
        np.array([[1.75, 1.5], [3, 0], [1, 0]])
    )


@pytest.mark.parametrize(
    ("variant", "point", "expected"),
    [
        (Variant(), (0.2, 0.3), (0.2, 0.3)),
        (Variant(Region(1, 0, 0, 1)), (0.2, 0.3), (0.8, 0.3)),
        (Variant(transposed=True), (0.2, 0.3), (0.3, 0.2)),
        (Variant(Region(0.1, 0, 0.6, 1)), (0.2, 0.3), (0.2, 0.3)),
        (Variant(degrees=90), (0, 0), (1, 0)),
    ],
    ids=["whole", "mirrored", "transposed", "cropped", "turned"],
)
def test_a_variant_maps_the_copy_to_the_reference(
    variant: Variant, point: tuple[float, float], expected: tuple[float, float]
) -> None:
    assert variant.to_reference() @ (*point, 1) == pytest.approx(expected)


def test_the_variants_of_a_reference_have_the_hashes_of_such_copies() -> None:
    image = scene(11, (300, 300))
    made = {
        Variant(): image,
        Variant(Region(1, 0, 0, 1)): image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        Variant(Region(0, 1, 1, 0), transposed=True): image.transpose(Image.Transpose.ROTATE_270),
        Variant(Region(0.1, 0.1, 0.9, 0.9)): image.crop((30, 30, 270, 270)),
        Variant(degrees=5): image.rotate(5),
        Variant(degrees=-8): image.rotate(-8),
    }
    hashes = variant_hashes(small(image), tuple(made))
    copies = [variant_hashes(small(copy), (Variant(),)) for copy in made.values()]
    for kind in (0, 1):
        bits = [
            int(np.bitwise_count(hashes[kind][0, n] ^ copy[kind][0, 0]))
            for n, copy in enumerate(copies)
        ]
        assert max(bits) <= 4


def test_the_variants_are_all_different_the_image_itself_first() -> None:
    assert len(VARIANTS) == len(set(VARIANTS)) == 68
    assert VARIANTS[0] == Variant()
    corners = {(one.region, one.transposed) for one in VARIANTS if not one.degrees}
    sides = [(0, 1), (1, 0)]
    turns = {(Region(x, y, u, v), t) for x, u in sides for y, v in sides for t in (False, True)}
    assert turns <= corners


def test_a_turn_of_a_wide_image_is_that_of_its_pixels() -> None:
    # 40 pixels to the right of the centre of 200 x 100, turned by 90 degrees, is 40 below it.
    found = Variant(degrees=90).to_reference(aspect=2) @ (0.7, 0.5, 1)
    assert found == pytest.approx((0.5, 0.9))
    assert [nearest_aspect(percent) for percent in (56, 75, 100, 133, 178)] == [
        3 / 4, 3 / 4, 1, 4 / 3, 4 / 3,
    ]  # fmt: skip
