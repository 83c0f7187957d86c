"""Photo-like scenes: coloured things in a landscape, beside a sign with one word."""

import random
from collections import Counter
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from demo.drawing.ink import (
    COLOURS,
    RGB,
    Box,
    Pixels,
    counted,
    fitting_font,
    generator,
    grained,
    listed,
    mixed,
    readable_on,
    to_image,
)
from demo.drawing.landscape import GROUNDS, SKIES, Landscape, draw_landscape
from demo.drawing.sprites import KINDS, draw_sprite
from demo.drawing.staging import Sign, Thing, place_sign, place_things

_SIZES_PX = ((320, 240), (360, 270), (400, 300), (480, 320), (480, 360), (320, 320), (300, 360))
_POST: RGB = (92, 78, 66)

GROUND_PHRASES = {
    "beach": "on a sandy beach",
    "meadow": "in a green meadow",
    "street": "on an asphalt street",
    "snow": "in the snow",
    "desert": "in a desert",
    "lake": "at a lake",
    "deck": "on a wooden deck",
}
SKY_PHRASES = {
    "clear": "under a clear blue sky",
    "cloudy": "under a blue sky with white clouds",
    "overcast": "under a grey overcast sky",
    "sunset": "at sunset",
    "night": "at night",
}


@dataclass(frozen=True)
class Scene:
    """An image and what can be seen in it; `things` run from left to right."""

    image: Image.Image
    ground: str
    sky: str
    things: tuple[Thing, ...]
    word: str
    sign_colour: str
    sign_box: Box

    def caption(self) -> str:
        things = listed(self._groups())
        return (
            f"{_capitalised(things)} {GROUND_PHRASES[self.ground]} {SKY_PHRASES[self.sky]}, "
            f"with {counted(1, self.sign_colour)} sign that reads {self.word}."
        )

    def description(self) -> str:
        """Three to six sentences, worded differently from scene to scene."""
        # Seeded by what is in the scene, so that one scene is always described alike.
        rng = random.Random(f"{self.word} {self.things}")
        sentences = [self._setting(rng), self._inventory(rng), self._lettering(rng)]
        if len(self.things) > 1:
            sentences += rng.sample(self._relations(), rng.randint(0, 2))
        if rng.random() < 0.5:
            sentences.append(self._tally(rng))
        return " ".join(sentences)

    def _groups(self) -> list[str]:
        groups = Counter(thing.look for thing in self.things)
        return [counted(number, noun) for noun, number in groups.items()]

    def _setting(self, rng: random.Random) -> str:
        ground, sky = GROUND_PHRASES[self.ground], SKY_PHRASES[self.sky]
        return rng.choice(
            [
                f"The picture was taken {ground} {sky}.",
                f"We are {ground} {sky}.",
                f"This photo shows a quiet moment {ground} {sky}.",
                f"The scene is set {ground}, {sky}.",
            ]
        )

    def _inventory(self, rng: random.Random) -> str:
        things = listed(self._groups())
        return rng.choice(
            [
                f"In view {'is' if len(self.things) == 1 else 'are'} {things}.",
                f"One can see {things}.",
                f"{_capitalised(things)} can be seen.",
                f"It shows {things}.",
            ]
        )

    def _lettering(self, rng: random.Random) -> str:
        sign = counted(1, self.sign_colour)
        return rng.choice(
            [
                f"{_capitalised(sign)} sign carries the word {self.word}.",
                f"There is {sign} sign that says {self.word}.",
                f"The word {self.word} is written on {sign} sign.",
                f"Two posts hold {sign} sign reading {self.word}.",
            ]
        )

    def _relations(self) -> list[str]:
        leftmost = self.things[0]
        rightmost = max(self.things, key=lambda thing: thing.box[2])
        relations = [
            f"The thing farthest to the left is {counted(1, leftmost.look)}.",
            f"On the right end is {counted(1, rightmost.look)}.",
        ]
        second, tallest = sorted(self.things, key=lambda thing: thing.height_px)[-2:]
        if tallest.look == second.look or tallest.height_px > 1.2 * second.height_px:
            relations.append(f"The tallest of them is {counted(1, tallest.look)}.")
        return relations

    def _tally(self, rng: random.Random) -> str:
        number = counted(len(self.things), "thing").replace("a thing", "one thing")
        return rng.choice(
            [
                f"Apart from the sign, there {'is' if number == 'one thing' else 'are'} {number}.",
                f"Not counting the sign, one can count {number}.",
            ]
        )


def draw_scene(rng: random.Random) -> Scene:
    land = draw_landscape(rng, *rng.choice(_SIZES_PX))
    hidden = GROUNDS[land.ground].hides | SKIES[land.sky].hides
    visible = [colour for colour in COLOURS if colour not in hidden]
    sign = place_sign(rng, land, rng.choice(visible))
    planned = place_things(rng, land, visible, sign)
    image = to_image(land.planes * _shadows(land, planned, sign))
    things = tuple(_stand(rng, image, land, thing) for thing in planned)
    _draw_sign(image, sign)
    image = image.filter(ImageFilter.BoxBlur(0.4))
    image = grained(image, generator(rng), rng.randint(3, 10))
    ordered = tuple(sorted(things, key=lambda thing: thing.box))
    return Scene(image, land.ground, land.sky, ordered, sign.word, sign.colour, sign.board)


def _shadows(land: Landscape, things: list[Thing], sign: Sign) -> Pixels:
    """How much light reaches the ground, drawn at half size because shadows are soft."""
    _, height, width = land.planes.shape
    shade = Image.new("L", (width // 2, height // 2), 255)
    draw = ImageDraw.Draw(shade)
    standing = [thing.box for thing in things if not KINDS[thing.kind].flies]
    for left, top, right, base in [*standing, sign.box]:
        reach = -land.light_from * (base - top) * 0.3
        flat = 2 + (right - left) * 0.06
        ends = sorted((left + min(reach, 0), right + max(reach, 0)))
        draw.ellipse((ends[0] / 2, (base - flat) / 2, ends[1] / 2, (base + flat * 0.8) / 2), 100)
    soft = shade.filter(ImageFilter.BoxBlur(2)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(soft, dtype=np.float32) / np.float32(255)


def _stand(rng: random.Random, image: Image.Image, land: Landscape, thing: Thing) -> Thing:
    """Draws the thing into the image and returns it with the box that it really fills."""
    left, top, _, _ = thing.box
    tint = SKIES[land.sky].tint
    sprite = draw_sprite(thing.kind, COLOURS[thing.colour], thing.height_px, land.light_from, tint)
    if rng.random() < 0.5:
        sprite = ImageOps.mirror(sprite)
    image.paste(sprite, (left, top), sprite)
    box = (left, top, left + sprite.width, top + sprite.height)
    return Thing(thing.kind, thing.colour, box)


def _draw_sign(image: Image.Image, sign: Sign) -> None:
    left, top, right, bottom = sign.board
    draw = ImageDraw.Draw(image)
    for post in (left + (right - left) // 5, right - (right - left) // 5):
        draw.rectangle((post - 2, top, post + 2, sign.base), _POST)
    colour = COLOURS[sign.colour]
    ink = readable_on(colour)
    draw.rounded_rectangle((left, top, right - 1, bottom - 1), 4, colour, mixed(colour, ink, 0.6))
    face = fitting_font(sign.word, right - left - 10, round((bottom - top) * 0.64))
    middle = ((left + right) / 2, (top + bottom) / 2)
    draw.text(middle, sign.word, ink, face, anchor="mm")


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
