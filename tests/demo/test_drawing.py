"""The demo's images show their facts."""

import random
from collections.abc import Callable
from itertools import combinations
from typing import Protocol

import numpy as np
import pytest
from PIL import Image

from demo.drawing.charts import draw_bar_chart, draw_statista_chart
from demo.drawing.diagrams import draw_diagram
from demo.drawing.ink import COLOURS, Box
from demo.drawing.pages import draw_cover, draw_infographic, draw_page
from demo.drawing.scenes import Scene, draw_scene

SEEDS = range(40)


class Imaged(Protocol):
    @property
    def image(self) -> Image.Image: ...


DRAWERS: list[Callable[[random.Random], Imaged]] = [
    draw_scene,
    draw_cover,
    draw_page,
    draw_infographic,
    draw_bar_chart,
    draw_statista_chart,
    draw_diagram,
]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(random.Random(seed)) for seed in SEEDS]


def boxes_of(scene: Scene) -> list[Box]:
    return [scene.sign_box, *(thing.box for thing in scene.things)]


def share_in_colour(image: Image.Image, box: Box, colour: str) -> float:
    """Return the share of pixels in a box that are nearest to the named colour."""
    pixels = np.asarray(image.crop(box), dtype=np.float32).reshape(-1, 1, 3)
    palette = np.asarray(list(COLOURS.values()), dtype=np.float32)
    nearest = np.linalg.norm(pixels - palette, axis=2).argmin(axis=1)
    return float(np.mean(nearest == list(COLOURS).index(colour)))


@pytest.mark.parametrize("draw", DRAWERS)
def test_the_same_seed_gives_the_same_bytes(draw: Callable[[random.Random], Imaged]) -> None:
    first, again = draw(random.Random(7)), draw(random.Random(7))
    assert first.image.tobytes() == again.image.tobytes()
    assert vars(first).keys() == vars(again).keys()
    assert draw(random.Random(8)).image.tobytes() != first.image.tobytes()


@pytest.mark.parametrize("draw", DRAWERS)
def test_images_are_rgb_and_of_moderate_size(
    draw: Callable[[random.Random], Imaged],
) -> None:
    for seed in SEEDS:
        image = draw(random.Random(seed)).image
        assert image.mode == "RGB"
        assert 230 <= image.width <= 480
        assert 240 <= image.height <= 1050


def test_every_scene_has_one_to_six_things(scenes: list[Scene]) -> None:
    assert all(1 <= len(scene.things) <= 6 for scene in scenes)


def test_boxes_are_inside_the_scene(scenes: list[Scene]) -> None:
    for scene in scenes:
        for left, top, right, bottom in boxes_of(scene):
            assert 0 <= left < right <= scene.image.width
            assert 0 <= top < bottom <= scene.image.height


def test_things_and_signs_do_not_overlap(scenes: list[Scene]) -> None:
    for scene in scenes:
        for first, second in combinations(boxes_of(scene), 2):
            apart_across = first[2] <= second[0] or second[2] <= first[0]
            assert apart_across or first[3] <= second[1] or second[3] <= first[1]


def test_things_have_their_colour(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.things:
            assert share_in_colour(scene.image, thing.box, thing.colour) > 0.2, thing


def test_signs_have_their_colour(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert share_in_colour(scene.image, scene.sign_box, scene.sign_colour) > 0.45


def test_captions_and_descriptions_name_the_word_and_every_thing(scenes: list[Scene]) -> None:
    for scene in scenes:
        for text in (scene.caption(), scene.description()):
            assert scene.word in text
            assert all(f"{thing.colour} {thing.kind}" in text.lower() for thing in scene.things)
        assert 3 <= scene.description().count(".") <= 6


def test_only_invoices_have_a_total() -> None:
    for seed in SEEDS:
        page = draw_page(random.Random(seed))
        assert ("Total" in dict(page.fields)) is (page.kind == "invoice")


def test_a_pie_adds_up_to_a_hundred_percent() -> None:
    charts = [draw_statista_chart(random.Random(seed)) for seed in SEEDS]
    assert all(sum(chart.values) == 100 for chart in charts if chart.kind == "pie")


@pytest.mark.slow
def test_bars_reach_as_high_as_their_values() -> None:
    for seed in SEEDS:
        chart = draw_bar_chart(random.Random(seed))
        right = chart.image.width - (112 if chart.has_legend else 0)
        plot = (40, 36, right, chart.image.height - 52)
        # Black is left out, because the axes and the outlines of all bars are dark as well.
        shown = [
            (value, share_in_colour(chart.image, plot, colour))
            for value, colour in zip(chart.values, chart.colours, strict=True)
            if colour != "black"
        ]
        assert sorted(shown) == sorted(shown, key=lambda pair: pair[1])


def test_a_lettered_diagram_differs_only_in_the_boxes_of_its_parts() -> None:
    for seed in SEEDS:
        diagram = draw_diagram(random.Random(seed))
        lettered = draw_diagram(random.Random(seed), lettered=True)
        assert lettered.parts == diagram.parts
        differs = np.any(np.asarray(diagram.image) != np.asarray(lettered.image), axis=2)
        for part in diagram.parts:
            left, top, right, bottom = part.box
            assert differs[top:bottom, left:right].any()
            differs[top:bottom, left:right] = False
        assert not differs.any()


def test_arrows_join_parts_of_their_diagram() -> None:
    for seed in SEEDS:
        diagram = draw_diagram(random.Random(seed))
        names = {part.name for part in diagram.parts}
        assert {name for arrow in diagram.arrows for name in arrow} <= names
        assert len({part.letter for part in diagram.parts}) == len(diagram.parts)
