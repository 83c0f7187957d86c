"""Cards with one large word, or with a sign above a row of equal things, and questions on them.

What a photograph is to a grown model, a card is to one that begins at random: it says on 112 x 112
pixels, which take a fifth of a millisecond to draw, what colours, numbers and words look like.
"""

import random
from functools import cache
from typing import Final, NamedTuple

from PIL import Image, ImageDraw

from demo.annotations.questions import WRITTEN, Exchange
from demo.drawing.album import encoded, seeded
from demo.drawing.ink import BLACK, COLOURS, WHITE, fitting_font, mixed
from demo.drawing.sprites import draw_sprite
from demo.sources.llava import Record, imaged
from imp_data.sample import SHORT_ANSWER_SUFFIX

# A dozen of the demo's plain words, short ones, so that each letter covers several patches.
WORDS: Final = (
    *("barn", "bell", "elm", "fox", "goat", "ivy", "lion", "mint", "oak", "owl", "plum", "rose"),
)
KINDS: Final = ("ball", "car", "house", "tree", "cup", "duck")
# As many as a small model needs in order to tell what is asked of them by seeing alone.
COUNT: Final = 2500
# Cards for an examination: one for each kind, number and wording, and two for each word.
EXAMINED: Final = 72
# White things are hard to tell from the ground.
_SIGN_COLOURS: Final = tuple(COLOURS)
_THING_COLOURS: Final = tuple(colour for colour in COLOURS if colour != "white")
_MANY: Final = ("How many {}s are in the picture?", "How many {}s are there?")
_SIDE_PX: Final = 112
# Two patches of the model's tower to a thing, always the same two: it can count at once.
_MOST, _SLOT_PX, _THING_PX, _WORD_PX, _FACE_PX, _GROUND_PX = 4, 28, 26, 92, 40, 111
_SIGN: Final = (3, 4, 108, 52)


class Asked(NamedTuple):
    """A question, its answer, and the kind it is of: `colour`, `count` or `word`."""

    kind: str
    exchange: Exchange


class Card(NamedTuple):
    """An image, and the questions on it, in no order of their own."""

    image: Image.Image
    asked: tuple[Asked, ...]


class Row(NamedTuple):
    """A sign's colour, and the things below it: `number` of a kind and colour."""

    sign: str
    kind: str
    colour: str
    number: int


def card(group: str, number: int) -> Card:
    """The card of that number in a group; every third shows a word."""
    rng = seeded("card", group, number)
    if number % 3 == 0:
        return _reading(rng, rng.choice(WORDS), rng.choice(WRITTEN))
    row = Row(
        rng.choice(_SIGN_COLOURS),
        rng.choice(KINDS),
        rng.choice(_THING_COLOURS),
        rng.randint(1, _MOST),
    )
    return _counting(rng, row, rng.choice(_MANY))


def examined(number: int) -> Card:
    """The card of that number below EXAMINED; every third shows a word.

    To each wording of a question each of its answers is right equally often (of the colours: as
    far as 48 cards can have it). So whoever answers without seeing is right in one case of four
    about a number, of six about a word and of eight about a colour, whatever is guessed.
    """
    rng, place = seeded("card", "examined", number), number // 3
    if number % 3 == 0:
        return _reading(rng, WORDS[place % 12], WRITTEN[(place + place // 12) % len(WRITTEN)])
    place = 2 * place + number % 3 - 1
    kind, turn = place % len(KINDS), place // len(KINDS)
    row = Row(
        _SIGN_COLOURS[place % len(_SIGN_COLOURS)],
        KINDS[kind],
        _THING_COLOURS[(turn + kind) % len(_THING_COLOURS)],
        1 + turn % _MOST,
    )
    return _counting(rng, row, _MANY[turn // _MOST])


def card_file(drawn: Card) -> bytes:
    return encoded(drawn.image, "PNG")


def records() -> list[Record]:
    """A conversation on each card, as LLaVA writes them."""
    return [
        imaged(
            str(number),
            f"{number}.png",
            [asked.exchange for asked in _lesson(number)],
            suffix=SHORT_ANSWER_SUFFIX,
        )
        for number in range(COUNT)
    ]


def _lesson(number: int) -> list[Asked]:
    """The questions that are taught with a card, shuffled; of its two colours one.

    Numbers are harder to learn than colours, so they are half of what these cards teach.
    """
    rng, asked = seeded("lesson", number), list(card("cards", number).asked)
    if colours := [one for one in asked if one.kind == "colour"]:
        asked.remove(rng.choice(colours))
    rng.shuffle(asked)
    return asked


def _ground(rng: random.Random) -> Image.Image:
    tint = rng.randrange(256), rng.randrange(256), rng.randrange(256)
    return Image.new("RGB", (_SIDE_PX, _SIDE_PX), mixed(WHITE, tint, 0.25))


def _reading(rng: random.Random, word: str, question: str) -> Card:
    """A white sign with a word, always in one place: it is known by its look as a whole."""
    image = _ground(rng)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(_SIGN, 4, WHITE, BLACK)
    face = fitting_font(word.upper(), _WORD_PX, _FACE_PX)
    draw.text((56, 28), word.upper(), BLACK, face, anchor="mm")
    return Card(image, (Asked("word", (question, word)),))


def _counting(rng: random.Random, row: Row, many: str) -> Card:
    """An empty sign of one colour; below it one to four things of one kind and colour.

    No wording tells whether there is one thing or several.
    """
    image, colour = _ground(rng), COLOURS[row.sign]
    ImageDraw.Draw(image).rounded_rectangle(_SIGN, 4, colour, mixed(colour, BLACK, 0.4))
    thing = _thing(row.kind, row.colour)
    for slot in rng.sample(range(_MOST), row.number):
        left = _SLOT_PX * slot + (_SLOT_PX - thing.width) // 2
        image.paste(thing, (left, _GROUND_PX - thing.height), thing)
    asked = (
        Asked("colour", ("What color is the sign?", row.sign)),
        Asked("colour", (f"What color is each {row.kind}?", row.colour)),
        Asked("count", (many.format(row.kind), str(row.number))),
    )
    return Card(image, asked)


@cache
def _thing(kind: str, colour: str) -> Image.Image:
    sprite = draw_sprite(kind, COLOURS[colour], _THING_PX, 0.0, (1, 1, 1))
    widest = _SLOT_PX - 1
    if sprite.width <= widest:
        return sprite
    return sprite.resize((widest, round(sprite.height * widest / sprite.width)))
