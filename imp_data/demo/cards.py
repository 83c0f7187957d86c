"""Cards with one large word, or with a sign above a row of equal things, and questions on them.

What a photograph is to a grown model, a card is to one that begins at random: it says on 112 x 112
pixels, which take a fifth of a millisecond to draw, what colours, numbers and words look like.
"""

import random
from functools import cache
from typing import Final, NamedTuple

from PIL import Image, ImageDraw

from imp_data.demo.album import encoded, seeded
from imp_data.demo.ink import BLACK, COLOURS, WHITE, fitting_font, mixed
from imp_data.demo.llava import Record, pictured
from imp_data.demo.questions import WRITTEN, Exchange
from imp_data.demo.sprites import draw_sprite
from imp_data.sample import SHORT_ANSWER_SUFFIX

# A dozen of the demo's plain words, short ones, so that each letter covers several patches.
WORDS: Final = (
    *("barn", "bell", "elm", "fox", "goat", "ivy", "lion", "mint", "oak", "owl", "plum", "rose"),
)
KINDS: Final = ("ball", "car", "house", "tree", "cup", "duck")
# As many as a small model needs in order to tell what is asked of them by seeing alone.
COUNT: Final = 2500
_SIDE_PX: Final = 112
_MOST, _SLOT_PX, _THING_PX, _WORD_PX, _FACE_PX = 4, 28, 26, 92, 40
_SIGN: Final = (3, 4, 108, 52)


class Asked(NamedTuple):
    """A question, its answer, and the kind it is of: `colour`, `count` or `word`."""

    kind: str
    exchange: Exchange


class Card(NamedTuple):
    """A picture, and what is asked of it in the words in which scenes are asked of."""

    image: Image.Image
    asked: tuple[Asked, ...]


def card(group: str, number: int) -> Card:
    """The card of that number in a group; every third shows a word."""
    rng = seeded("card", group, number)
    tint = rng.randrange(256), rng.randrange(256), rng.randrange(256)
    image = Image.new("RGB", (_SIDE_PX, _SIDE_PX), mixed(WHITE, tint, 0.25))
    return (_counting if number % 3 else _reading)(rng, image)


def card_file(drawn: Card) -> bytes:
    return encoded(drawn.image, "PNG")


def records() -> list[Record]:
    """A conversation on each card, as LLaVA writes them."""
    return [
        pictured(
            str(number),
            f"{number}.png",
            [asked.exchange for asked in card("cards", number).asked],
            suffix=SHORT_ANSWER_SUFFIX,
        )
        for number in range(COUNT)
    ]


def _reading(rng: random.Random, image: Image.Image) -> Card:
    """A white sign with a word, always in one place: it is known by its look as a whole."""
    word = rng.choice(WORDS)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(_SIGN, 4, WHITE, BLACK)
    face = fitting_font(word.upper(), _WORD_PX, _FACE_PX)
    draw.text((56, 28), word.upper(), BLACK, face, anchor="mm")
    return Card(image, (Asked("word", (rng.choice(WRITTEN), word)),))


def _counting(rng: random.Random, image: Image.Image) -> Card:
    """An empty sign of one colour; below it one to four things of one kind and colour."""
    sign, kind, number = rng.choice(list(COLOURS)), rng.choice(KINDS), rng.randint(1, _MOST)
    # White things are hard to tell from the ground.
    colour = rng.choice([colour for colour in COLOURS if colour != "white"])
    ImageDraw.Draw(image).rounded_rectangle(
        _SIGN, 4, COLOURS[sign], mixed(COLOURS[sign], BLACK, 0.4)
    )
    thing = _thing(kind, colour)
    for slot in rng.sample(range(_MOST), number):
        left = _SLOT_PX * slot + rng.randint(0, _SLOT_PX - thing.width)
        image.paste(thing, (left, 106 - thing.height - rng.randint(0, 12)), thing)
    things = f"{kind}s"
    whose = f"is the {kind}" if number == 1 else f"are the {things}"
    many = rng.choice((f"How many {things} are in the picture?", f"How many {things} are there?"))
    asked = [
        Asked("colour", ("What color is the sign?", sign)),
        Asked("colour", (f"What color {whose}?", colour)),
        Asked("count", (many, str(number))),
    ]
    rng.shuffle(asked)
    return Card(image, tuple(asked))


@cache
def _thing(kind: str, colour: str) -> Image.Image:
    sprite = draw_sprite(kind, COLOURS[colour], _THING_PX, 0.0, (1, 1, 1))
    widest = _SLOT_PX - 1
    if sprite.width <= widest:
        return sprite
    return sprite.resize((widest, round(sprite.height * widest / sprite.width)))
