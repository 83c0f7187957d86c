"""School-book diagrams: food chains, life cycles and the parts of a plant."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import cos, hypot, pi, sin
from string import ascii_uppercase
from typing import Final

from PIL import Image, ImageDraw

from demo.drawing.emblems import INK, Point, Sheet, draw_emblem, half_width
from demo.drawing.ink import COLOURS, RGB, WHITE, Box, font, mixed

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
_STALK: Final[RGB] = (60, 140, 60)

Arrows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Part:
    """A named part; `box` is where its name, or its letter, is written."""

    name: str
    letter: str
    box: Box


@dataclass(frozen=True)
class Diagram:
    """A diagram with names, and the same one `lettered`; arrows run from name to name."""

    image: Image.Image
    lettered: Image.Image
    topic: str
    title: str
    parts: tuple[Part, ...]
    arrows: tuple[tuple[str, str], ...]


def draw_diagram(rng: random.Random) -> Diagram:
    topic = rng.choice(list(_TOPICS))
    tone = COLOURS[rng.choice(("yellow", "green", "blue", "pink", "orange"))]
    size = rng.choice(((360, 300), (400, 300), (420, 340), (460, 340), (480, 360)))
    sheet = Sheet(*size, mixed(tone, WHITE, rng.uniform(0.72, 0.95)))
    title, arrows = _TOPICS[topic](rng, sheet)
    letters = rng.sample(ascii_uppercase[: len(sheet.names)], len(sheet.names))
    parts = tuple(
        Part(name, letter, box) for (name, box), letter in zip(sheet.names, letters, strict=True)
    )
    named = _titled(sheet.written({part.name: part.name for part in parts}), title)
    lettered = _titled(sheet.written({part.name: part.letter for part in parts}), title)
    return Diagram(named, lettered, topic, title, parts, arrows)


def _titled(page: Image.Image, title: str) -> Image.Image:
    ImageDraw.Draw(page).text((page.width / 2, 18), title, INK, font(19), anchor="mm")
    return page


def _food_chain(rng: random.Random, sheet: Sheet) -> tuple[str, Arrows]:
    """Living things along a wave, each eaten by the next."""
    chain = rng.choice(_CHAINS)
    rise = rng.choice((-1, 1)) * rng.uniform(0.16, 0.2) * sheet.height
    spots = [
        (sheet.width * (place + 0.5) / len(chain), sheet.height * 0.52 + rise * (-1) ** place)
        for place in range(len(chain))
    ]
    return "Food chain", _join(rng, sheet, chain, spots)


def _life_cycle(rng: random.Random, sheet: Sheet) -> tuple[str, Arrows]:
    """Stages around a circle, the last leading back to the first."""
    title = rng.choice(list(_CYCLES))
    cycle = _CYCLES[title]
    turn = rng.uniform(0, 2 * pi)
    angles = [turn + 2 * pi * place / len(cycle) for place in range(len(cycle))]
    centre = (sheet.width / 2, sheet.height * 0.53)
    reach = (sheet.width * 0.35, sheet.height * 0.3)
    spots = [(centre[0] + reach[0] * cos(a), centre[1] + reach[1] * sin(a)) for a in angles]
    return title, _join(rng, sheet, (*cycle, cycle[0]), [*spots, spots[0]])


def _join(rng: random.Random, sheet: Sheet, names: tuple[str, ...], spots: list[Point]) -> Arrows:
    """Draws every name's image once, and an arrow from each to the next."""
    ink = mixed(COLOURS[rng.choice(("red", "blue", "black", "purple"))], INK, 0.2)
    stops = list(zip(names, spots, strict=True))
    for before, after in pairwise(stops):
        sheet.arrow(_edge(*before, after[1]), _edge(*after, before[1]), ink)
    for name, (x, y) in dict(stops).items():
        draw_emblem(sheet, name, x, y - 10)
        sheet.name(name, x, y + 26)
    return tuple(pairwise(names))


def _edge(name: str, spot: Point, other: Point) -> Point:
    """Where a line to another spot leaves the oval around a name and its image."""
    across, down = other[0] - spot[0], other[1] - spot[1]
    share = 1 / hypot(across / max(36.0, half_width(name) + 8), down / 46)
    return spot[0] + across * share, spot[1] + down * share


def _plant_parts(rng: random.Random, sheet: Sheet) -> tuple[str, Arrows]:
    """A flowering plant in soil, whose parts are joined to their names by lines."""
    x, soil = sheet.width * rng.uniform(0.44, 0.56), sheet.height * rng.uniform(0.68, 0.74)
    top = sheet.height * rng.uniform(0.26, 0.3)
    leaf = soil - (soil - top) * rng.uniform(0.3, 0.55)
    side = rng.choice((-1, 1))
    _draw_roots(sheet, x, soil)
    sheet.line(_STALK, 7, (x, soil), (x, top))
    _draw_leaf(sheet, x, leaf, side)
    _draw_leaf(sheet, x, leaf + 22, -side)
    _draw_flower(sheet, x, top, COLOURS[rng.choice(("red", "purple", "pink", "orange"))])
    sheet.line(_STALK, 3, (x, top + 62), (x + side * 30, top + 48))
    sheet.disc(x + side * 30, top + 40, 7, 9, (200, 60, 60))
    spots = {
        "petal": (x - side * 20, top),
        "leaf": (x + side * 50, leaf - 14),
        "stem": (x, (leaf + 22 + soil) / 2 + 8),
        "root": (x + side * 26, soil + 30),
        "bud": (x + side * 34, top + 38),
        "soil": (x - side * 80, soil + 26),
    }
    _point_out(rng, sheet, spots)
    return "Parts of a plant", ()


def _draw_roots(sheet: Sheet, x: float, soil: float) -> None:
    corners = (sheet.width, soil), (sheet.width, sheet.height), (0, sheet.height)
    sheet.shape((150, 112, 76), (0, soil), *corners)
    for reach in (-44, -20, 4, 26, 46):
        bend, tip = (x + reach * 0.4, soil + 24), (x + reach, soil + 52)
        sheet.line((236, 214, 170), 4, (x, soil), bend, tip)


def _draw_leaf(sheet: Sheet, x: float, y: float, side: int) -> None:
    middle = (x + side * 36, y - 26), (x + side * 68, y - 20), (x + side * 40, y + 2)
    sheet.shape((86, 172, 78), (x, y), *middle)
    sheet.line((50, 120, 50), 1.5, (x, y), (x + side * 62, y - 18))


def _draw_flower(sheet: Sheet, x: float, y: float, colour: RGB) -> None:
    for petal in range(7):
        turn = 2 * pi * petal / 7
        sheet.disc(x + 19 * cos(turn), y + 19 * sin(turn), 11, 11, colour)
    sheet.disc(x, y, 12, 12, (246, 206, 60))


def _point_out(rng: random.Random, sheet: Sheet, spots: dict[str, Point]) -> None:
    """Names down both edges of the page, each with a line to its spot and none crossing."""
    shown = rng.sample(sorted(spots), rng.randint(4, len(spots)))
    for edge, onwards in ((38.0, False), (sheet.width - 38.0, True)):
        names = [name for name in shown if (spots[name][0] > sheet.width / 2) is onwards]
        names.sort(key=lambda name: spots[name][1])
        for place, name in enumerate(names):
            y = 56 + (sheet.height - 86) * (place + 0.5) / len(names)
            sheet.line(INK, 1.5, (edge, y), spots[name])
            sheet.name(name, edge, y)


_TOPICS: Final[dict[str, Callable[[random.Random, Sheet], tuple[str, Arrows]]]] = {
    "food chain": _food_chain,
    "cycle": _life_cycle,
    "plant": _plant_parts,
}
