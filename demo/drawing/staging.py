"""Where the things and the sign of a scene stand, so that none hides another."""

import random
from dataclasses import dataclass

from demo.drawing.ink import WORDS, Box, fitting_font
from demo.drawing.landscape import GROUNDS, Landscape
from demo.drawing.sprites import KINDS

_GAP_PX = 5


@dataclass(frozen=True)
class Thing:
    """One thing in a scene; `box` is its left, top, right and bottom in pixels."""

    kind: str
    colour: str
    box: Box

    @property
    def look(self) -> str:
        return f"{self.colour} {self.kind}"

    @property
    def height_px(self) -> int:
        return self.box[3] - self.box[1]


@dataclass(frozen=True)
class Sign:
    """A board on two posts that end at `base`."""

    word: str
    colour: str
    board: Box
    base: int

    @property
    def box(self) -> Box:
        left, top, right, _ = self.board
        return left, top, right, self.base


def place_sign(rng: random.Random, land: Landscape, colour: str) -> Sign:
    _, height, width = land.planes.shape
    word = rng.choice(WORDS).upper()
    text_px = round(height * rng.uniform(0.085, 0.12))
    across = round(fitting_font(word, width * 0.45, text_px).getlength(word) + text_px)
    tall = round(text_px * rng.uniform(1.5, 1.9))
    base = round(land.horizon_px + (height - land.horizon_px) * rng.uniform(0.1, 0.92))
    top = max(_GAP_PX, base - tall - round(height * rng.uniform(0.06, 0.16)))
    left = rng.randint(_GAP_PX, width - across - _GAP_PX)
    return Sign(word, colour, (left, top, left + across, top + tall), base)


def place_things(
    rng: random.Random, land: Landscape, colours: list[str], sign: Sign
) -> list[Thing]:
    """One to six things of one or two kinds, each clear of all others and of the sign."""
    kinds = rng.sample(GROUNDS[land.ground].kinds, rng.randint(1, 2))
    looks = [(kind, rng.choice(colours)) for kind in kinds for _ in range(rng.randint(1, 2))]
    taken = [sign.box]
    things: list[Thing] = []
    wanted = rng.randint(len(kinds), 6)
    attempts = 0
    while len(things) < wanted and (not things or attempts < 80):
        kind, colour = looks[len(things) % len(looks)]
        box = _try_box(rng, land, kind, 0.993**attempts)
        attempts += 1
        if not any(_touch(box, other) for other in taken):
            taken.append(box)
            things.append(Thing(kind, colour, box))
    return things


def _try_box(rng: random.Random, land: Landscape, kind: str, scale: float) -> Box:
    _, height, width = land.planes.shape
    near = rng.uniform(0.06, 1)
    shape = KINDS[kind]
    distance = rng.uniform(0.7, 1.1) if shape.flies else 0.62 + 0.5 * near
    tall = max(24, round(shape.height * height * distance * scale))
    wide = round(tall * shape.aspect)
    base = round(land.horizon_px + (height - land.horizon_px - _GAP_PX) * near)
    if shape.flies:
        base = max(tall + _GAP_PX, round(land.horizon_px * rng.uniform(0.5, 1.1)))
    base = max(base, tall + _GAP_PX)
    left = rng.randint(_GAP_PX, width - wide - _GAP_PX)
    return left, base - tall, left + wide, base


def _touch(first: Box, second: Box) -> bool:
    apart = (
        first[2] + _GAP_PX <= second[0]
        or second[2] + _GAP_PX <= first[0]
        or first[3] + _GAP_PX <= second[1]
        or second[3] + _GAP_PX <= first[1]
    )
    return not apart
