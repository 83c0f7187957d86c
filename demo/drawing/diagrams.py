"""School-book diagrams: food chains and life cycles as named boxes joined by arrows."""

import random
from dataclasses import dataclass
from itertools import pairwise
from math import atan2, cos, hypot, pi, sin
from string import ascii_uppercase
from typing import Final

from PIL import Image, ImageDraw

from demo.drawing.ink import BLACK, COLOURS, WHITE, Box, font, mixed, unevenly_lit

_CHAINS: Final = (
    ("grass", "grasshopper", "frog", "snake", "hawk"),
    ("algae", "shrimp", "herring", "seal", "orca"),
    ("corn", "mouse", "owl"),
    ("leaf", "caterpillar", "robin", "cat"),
    ("clover", "rabbit", "fox", "eagle"),
    ("plankton", "krill", "penguin", "leopard seal"),
)
_CYCLES: Final = {
    "Life cycle of a butterfly": ("egg", "caterpillar", "pupa", "butterfly"),
    "Life cycle of a frog": ("egg", "tadpole", "froglet", "frog"),
    "The water cycle": ("evaporation", "condensation", "rain", "runoff"),
    "Life cycle of a tree": ("seed", "sprout", "young tree", "tree", "fruit"),
    "Life cycle of a hen": ("egg", "chick", "hen"),
}
_TEXT_PX: Final = 16

Point = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """A named part; `box` is where its name, or its letter, is written."""

    name: str
    letter: str
    box: Box


@dataclass(frozen=True)
class Diagram:
    """A diagram with names, or with letters in their place; arrows run from name to name."""

    image: Image.Image
    title: str
    parts: tuple[Part, ...]
    arrows: tuple[tuple[str, str], ...]


def draw_diagram(rng: random.Random, *, lettered: bool = False) -> Diagram:
    """Draw a food chain or a life cycle; write letters in place of names if `lettered`."""
    width, height = rng.choice(((360, 300), (400, 300), (420, 340), (460, 340), (480, 360)))
    tone = COLOURS[rng.choice(("yellow", "green", "blue", "pink", "orange"))]
    paper = Image.new("RGB", (width, height), mixed(tone, WHITE, rng.uniform(0.4, 0.8)))
    image = unevenly_lit(rng, paper, 0.6)
    is_chain = rng.random() < 0.5
    title = "Food chain" if is_chain else rng.choice(list(_CYCLES))
    names = rng.choice(_CHAINS) if is_chain else _CYCLES[title]
    spots = _wave(rng, image, names) if is_chain else _circle(rng, image, names)
    letters = rng.sample(ascii_uppercase[: len(names)], len(names))
    parts = tuple(
        Part(name, letter, _box_at(image, name, spot))
        for name, letter, spot in zip(names, letters, spots, strict=True)
    )
    draw = ImageDraw.Draw(image)
    draw.text((width / 2, 18), title, BLACK, font(19), anchor="mm")
    order = parts if is_chain else (*parts, parts[0])
    for before, after in pairwise(order):
        _draw_arrow(draw, before.box, after.box)
    for part in parts:
        left, top, right, bottom = part.box
        draw.rectangle((left, top, right - 1, bottom - 1), WHITE, BLACK)
        text, middle = part.letter if lettered else part.name, _middle(part.box)
        draw.text(middle, text, BLACK, font(_TEXT_PX), anchor="mm")
    arrows = tuple((before.name, after.name) for before, after in pairwise(order))
    return Diagram(image, title, parts, arrows)


def _wave(rng: random.Random, image: Image.Image, names: tuple[str, ...]) -> list[Point]:
    rise = rng.choice((-1, 1)) * rng.uniform(0.16, 0.24) * image.height
    step = image.width / len(names)
    return [(step * (n + 0.5), image.height * 0.54 + rise * (-1) ** n) for n in range(len(names))]


def _circle(rng: random.Random, image: Image.Image, names: tuple[str, ...]) -> list[Point]:
    turn, across, down = rng.uniform(0, 2 * pi), image.width * 0.35, image.height * 0.33
    angles = [turn + 2 * pi * n / len(names) for n in range(len(names))]
    x, y = image.width / 2, image.height * 0.55
    return [(x + across * cos(angle), y + down * sin(angle)) for angle in angles]


def _box_at(image: Image.Image, name: str, spot: Point) -> Box:
    """Return a box for a name around a point, moved inside the image where it is not."""
    half = font(_TEXT_PX).getlength(name) / 2 + 6
    x, y = min(max(spot[0], half + 3), image.width - half - 3), spot[1]
    return int(x - half), int(y - 12), int(x + half), int(y + 12)


def _middle(box: Box) -> Point:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _draw_arrow(draw: ImageDraw.ImageDraw, start: Box, end: Box) -> None:
    """Draw a line between the edges of two boxes, with a head at its end."""
    tail, tip = _edge(start, _middle(end)), _edge(end, _middle(start))
    turn = atan2(tip[1] - tail[1], tip[0] - tail[0])
    draw.line((*tail, *tip), BLACK, 2)
    wings = [(tip[0] - 10 * cos(turn + w), tip[1] - 10 * sin(turn + w)) for w in (-0.5, 0.5)]
    draw.polygon([tip, *wings], BLACK)


def _edge(box: Box, other: Point) -> Point:
    """Return the point where the line to another point leaves an oval around the box."""
    x, y = _middle(box)
    across, down = other[0] - x, other[1] - y
    share = 1 / hypot(across / (box[2] - x + 6), down / (box[3] - y + 6))
    return x + across * share, y + down * share
