"""Cards: a sign with one large word above a row of equal things, and short questions on them.

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

# A dozen of the demo's plain words: so few that a small model learns to read them by their look.
WORDS: Final = (
    *("apple", "bread", "camel", "daisy", "eagle", "forest"),
    *("guitar", "honey", "island", "jacket", "kitten", "lemon"),
)
KINDS: Final = ("ball", "car", "house", "tree", "cup", "duck")
SIDE_PX: Final = 112
_MOST, _SLOT_PX, _WORD_PX, _FACE_PX = 4, 28, 92, 40


# As many as a small model needs in order to tell what is asked of them by seeing alone.
COUNT: Final = 2500


class Card(NamedTuple):
    """A card and what can be seen on it."""

    image: Image.Image
    word: str
    sign_colour: str
    kind: str
    colour: str
    number: int


class Asked(NamedTuple):
    """A question on a card, of the kind `colour`, `count` or `word`."""

    kind: str
    exchange: Exchange


def card(*name: str | int) -> Card:
    """The card that belongs to a name."""
    rng = seeded("card", *name)
    ground = mixed(WHITE, (rng.randrange(256), rng.randrange(256), rng.randrange(256)), 0.25)
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), ground)
    drawn = Card(
        image=image,
        word=rng.choice(WORDS),
        sign_colour=rng.choice(list(COLOURS)),
        kind=rng.choice(KINDS),
        # White things are hard to tell from the ground.
        colour=rng.choice([colour for colour in COLOURS if colour != "white"]),
        number=rng.randint(1, _MOST),
    )
    _draw_sign(drawn, rng.randint(-2, 2), rng.randint(-2, 2))
    for slot in rng.sample(range(_MOST), drawn.number):
        thing = _thing(drawn.kind, drawn.colour, rng.choice((22, 24, 26)))
        left = _SLOT_PX * slot + rng.randint(0, _SLOT_PX - thing.width)
        image.paste(thing, (left, 106 - thing.height - rng.randint(0, 22)), thing)
    return drawn


def asked_of(drawn: Card, rng: random.Random) -> list[Asked]:
    """What is asked of a card, in the words in which scenes are asked of, shuffled."""
    things = f"{drawn.kind}s"
    whose = f"is the {drawn.kind}" if drawn.number == 1 else f"are the {things}"
    many = rng.choice((f"How many {things} are in the picture?", f"How many {things} are there?"))
    found = [
        Asked("colour", ("What color is the sign?", drawn.sign_colour)),
        Asked("colour", (f"What color {whose}?", drawn.colour)),
        Asked("count", (many, str(drawn.number))),
        Asked("word", (rng.choice(WRITTEN), drawn.word)),
    ]
    rng.shuffle(found)
    return found


def records() -> list[Record]:
    """A conversation on each card, as LLaVA writes them."""
    return [
        pictured(
            str(number),
            f"{number}.png",
            [asked.exchange for asked in asked_of(card(number), seeded("asked", number))],
            suffix=SHORT_ANSWER_SUFFIX,
        )
        for number in range(COUNT)
    ]


def card_file(drawn: Card) -> bytes:
    return encoded(drawn.image, "PNG")


def _draw_sign(drawn: Card, right: int, down: int) -> None:
    """A coloured board with a white plate that bears the word, moved a little."""
    draw, colour = ImageDraw.Draw(drawn.image), COLOURS[drawn.sign_colour]
    board = (3 + right, 4 + down, 108 + right, 52 + down)
    draw.rounded_rectangle(board, 4, colour, mixed(colour, BLACK, 0.4))
    draw.rectangle((8 + right, 10 + down, 103 + right, 46 + down), WHITE)
    word = drawn.word.upper()
    face = fitting_font(word, _WORD_PX, _FACE_PX)
    draw.text((56 + right, 28 + down), word, BLACK, face, anchor="mm")


@cache
def _thing(kind: str, colour: str, height_px: int) -> Image.Image:
    sprite = draw_sprite(kind, COLOURS[colour], height_px, 0.0, (1, 1, 1))
    widest = _SLOT_PX - 1
    if sprite.width <= widest:
        return sprite
    return sprite.resize((widest, round(sprite.height * widest / sprite.width)))
