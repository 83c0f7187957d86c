"""Scenes: coloured things on the ground below a sign with one word."""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Final, NamedTuple

from PIL import Image, ImageDraw

from demo.drawing.ink import (
    BLACK,
    COLOURS,
    RGB,
    WORDS,
    Box,
    counted,
    fitting_font,
    listed,
    mixed,
    readable_on,
    unevenly_lit,
)
from demo.drawing.sprites import KINDS, draw_sprite

_SIZES_PX: Final = ((320, 240), (360, 270), (400, 300), (480, 320), (320, 320), (300, 360))
_GAP_PX: Final = 4


class Surface(NamedTuple):
    """A kind of ground or sky; `hides` names the colours that do not contrast with it."""

    colour: RGB
    phrase: str
    hides: frozenset[str]


GROUNDS: Final = {
    "beach": Surface((226, 206, 160), "on a sandy beach", frozenset({"yellow", "white"})),
    "meadow": Surface((104, 150, 66), "in a green meadow", frozenset({"green"})),
    "street": Surface((112, 112, 116), "on an asphalt street", frozenset({"black"})),
    "snowy field": Surface((228, 236, 250), "in the snow", frozenset({"white"})),
    "desert": Surface((214, 158, 96), "in a desert", frozenset({"orange", "yellow"})),
}
SKIES: Final = {
    "clear": Surface((120, 170, 226), "under a clear blue sky", frozenset({"blue"})),
    "overcast": Surface((178, 182, 188), "under a grey overcast sky", frozenset({"white"})),
    "sunset": Surface((240, 140, 90), "at sunset", frozenset({"orange", "pink"})),
    "night": Surface((20, 26, 62), "at night", frozenset({"black", "blue", "purple"})),
}


class Thing(NamedTuple):
    """One thing in a scene; `box` is its left, top, right and bottom in pixels."""

    kind: str
    colour: str
    box: Box

    @property
    def look(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """An image and its visible content; `things` run from left to right."""

    image: Image.Image
    ground: str
    sky: str
    things: tuple[Thing, ...]
    word: str
    sign_colour: str
    sign_box: Box

    @property
    def setting(self) -> str:
        return f"{GROUNDS[self.ground].phrase} {SKIES[self.sky].phrase}"

    @property
    def sign(self) -> str:
        return f"{counted(1, self.sign_colour)} sign"

    @property
    def inventory(self) -> str:
        looks = Counter(thing.look for thing in self.things)
        return listed([counted(number, look) for look, number in looks.items()])

    def caption(self) -> str:
        return (
            f"{self.inventory.capitalize()} {self.setting}, with {self.sign} reading {self.word}."
        )

    def description(self) -> str:
        """Return three to five sentences, worded differently from scene to scene."""
        # Seeded by the content, so that equal scenes have equal descriptions.
        rng = random.Random(f"{self.word} {self.things}")
        settings = ("The picture was taken", "We are", "The scene is set")
        sentences = [
            f"{rng.choice(settings)} {self.setting}.",
            f"{rng.choice(('One can see', 'It shows'))} {self.inventory}.",
            f"There is {self.sign} that says {self.word}.",
        ]
        if len(self.things) > 1:
            ends = (("left", self.things[0]), ("right", self.things[-1]))
            chosen = rng.sample(ends, rng.randint(0, 2))
            sentences += [f"On the {s} end is {counted(1, thing.look)}." for s, thing in chosen]
        return " ".join(sentences)


def draw_scene(rng: random.Random) -> Scene:
    width, height = rng.choice(_SIZES_PX)
    ground, sky = rng.choice(list(GROUNDS)), rng.choice(list(SKIES))
    image = Image.new("RGB", (width, height), SKIES[sky].colour)
    land = mixed(GROUNDS[ground].colour, BLACK, 0.5 if sky == "night" else 0)
    horizon = round(height * rng.uniform(0.3, 0.6))
    ImageDraw.Draw(image).rectangle((0, horizon, width, height), land)
    image = unevenly_lit(rng, image)
    hidden = GROUNDS[ground].hides | SKIES[sky].hides
    visible = [colour for colour in COLOURS if colour not in hidden]
    word, sign_colour = rng.choice(WORDS).upper(), rng.choice(visible)
    sign_box = _draw_sign(rng, image, word, sign_colour)
    things = _draw_things(rng, image, visible)
    return Scene(image, ground, sky, things, word, sign_colour, sign_box)


def _draw_sign(rng: random.Random, image: Image.Image, word: str, colour: str) -> Box:
    """Draw a sign into the upper half of the image; return its box."""
    text_px = round(image.height * rng.uniform(0.085, 0.12))
    face = fitting_font(word, image.width * 0.45, text_px)
    wide, tall = round(face.getlength(word)) + text_px, round(text_px * rng.uniform(1.5, 1.9))
    left = rng.randint(_GAP_PX, image.width - wide - _GAP_PX)
    top = rng.randint(_GAP_PX, image.height // 2 - tall - _GAP_PX)
    fill, draw = COLOURS[colour], ImageDraw.Draw(image)
    ink = readable_on(fill)
    box = (left, top, left + wide, top + tall)
    draw.rectangle((left, top, left + wide - 1, top + tall - 1), fill, mixed(fill, ink, 0.6))
    draw.text((left + wide / 2, top + tall / 2), word, ink, face, anchor="mm")
    return box


def _draw_things(rng: random.Random, image: Image.Image, colours: list[str]) -> tuple[Thing, ...]:
    """Draw one to six things of one or two kinds side by side into the lower half."""
    kinds = rng.sample(list(KINDS), rng.randint(1, 2))
    looks = [(kind, rng.choice(colours)) for kind in kinds for _ in range(rng.randint(1, 2))]
    number = rng.randint(len(kinds), 6)
    slot = image.width // number
    things: list[Thing] = []
    for position in rng.sample(range(number), number):
        kind, colour = looks[len(things) % len(looks)]
        largest = min((slot - 2 * _GAP_PX) / KINDS[kind].aspect, image.height * 0.45)
        sprite = draw_sprite(kind, COLOURS[colour], round(largest * rng.uniform(0.75, 1)))
        left = slot * position + rng.randint(_GAP_PX, slot - sprite.width - _GAP_PX)
        top = rng.randint(image.height // 2, image.height - sprite.height)
        image.paste(sprite, (left, top), sprite)
        things.append(Thing(kind, colour, (left, top, left + sprite.width, top + sprite.height)))
    return tuple(sorted(things, key=lambda thing: thing.box))
