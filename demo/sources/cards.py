"""Cards that show one large word, or a sign above a row of equal things, with questions on them.

A model with random weights learns colours, numbers and words from 112 x 112 pixel cards, which
take a fifth of a millisecond to draw, sooner than from photographs.
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

# Twelve short words, so that each letter covers several patches.
WORDS: Final = tuple(
    ["barn", "bell", "elm", "fox", "goat", "ivy", "lion", "mint", "oak", "owl", "plum", "rose"]
)
KINDS: Final = ("ball", "car", "house", "tree", "cup", "duck")
# The number of cards that a small model needs to learn to answer from the image.
COUNT: Final = 2500
# Held-out cards: one for each kind, number and wording, and two for each word.
HELD_OUT: Final = 72
# White things are hard to distinguish from the background.
_SIGN_COLOURS: Final = tuple(COLOURS)
_THING_COLOURS: Final = tuple(colour for colour in COLOURS if colour != "white")
_MANY: Final = ("How many {}s are in the picture?", "How many {}s are there?")
_SIDE_PX: Final = 112
# Each thing covers two patches of the vision tower, always the same two, which eases counting.
_MOST, _SLOT_PX, _THING_PX, _WORD_PX, _FACE_PX, _BASELINE_PX = 4, 28, 26, 92, 40, 111
_SIGN: Final = (3, 4, 108, 52)


class Question(NamedTuple):
    """A question with its answer; its kind is `colour`, `count` or `word`."""

    kind: str
    exchange: Exchange


class Card(NamedTuple):
    """An image and the questions on it."""

    image: Image.Image
    questions: tuple[Question, ...]


class Row(NamedTuple):
    """The colour of a sign and the things below it: `number` things of one kind and colour."""

    sign: str
    kind: str
    colour: str
    number: int


def card(group: str, number: int) -> Card:
    """Return a card of a group; every third card shows a word."""
    rng = seeded("card", group, number)
    if number % 3 == 0:
        return _word_card(rng, rng.choice(WORDS), rng.choice(WRITTEN))
    sign, kind, colour = map(rng.choice, (_SIGN_COLOURS, KINDS, _THING_COLOURS))
    row = Row(sign, kind, colour, rng.randint(1, _MOST))
    return _things_card(rng, row, rng.choice(_MANY))


def held_out_card(number: int) -> Card:
    """Return held-out card `number`, below HELD_OUT; every third card shows a word.

    For each wording of a question, every answer is right equally often (for colours: as nearly as
    48 cards allow). A model that does not use the image therefore scores one in four on numbers,
    one in six on words and one in eight on colours, whatever it guesses.
    """
    rng, index = seeded("card", "examined", number), number // 3
    if number % 3 == 0:
        return _word_card(rng, WORDS[index % 12], WRITTEN[(index + index // 12) % len(WRITTEN)])
    index = 2 * index + number % 3 - 1
    turn, kind = divmod(index, len(KINDS))
    sign = _SIGN_COLOURS[index % len(_SIGN_COLOURS)]
    colour = _THING_COLOURS[(turn + kind) % len(_THING_COLOURS)]
    return _things_card(rng, Row(sign, KINDS[kind], colour, 1 + turn % _MOST), _MANY[turn // _MOST])


def card_file(drawn: Card) -> bytes:
    return encoded(drawn.image, "PNG")


def records() -> list[Record]:
    """Return a conversation on each card in LLaVA's format."""
    return [
        imaged(str(number), f"{number}.png", _lesson(number), SHORT_ANSWER_SUFFIX)
        for number in range(COUNT)
    ]


def _lesson(number: int) -> list[Exchange]:
    """Return the training questions on a card, shuffled, with one of its two colour questions.

    Numbers are harder to learn than colours, so they make up half of the questions.
    """
    rng, questions = seeded("lesson", number), list(card("cards", number).questions)
    if colours := [question for question in questions if question.kind == "colour"]:
        questions.remove(rng.choice(colours))
    rng.shuffle(questions)
    return [question.exchange for question in questions]


def _background(rng: random.Random) -> Image.Image:
    tint = rng.randrange(256), rng.randrange(256), rng.randrange(256)
    return Image.new("RGB", (_SIDE_PX, _SIDE_PX), mixed(WHITE, tint, 0.25))


def _word_card(rng: random.Random, word: str, question: str) -> Card:
    """Draw a white sign with a word, always in the same place."""
    image = _background(rng)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(_SIGN, 4, WHITE, BLACK)
    face = fitting_font(word.upper(), _WORD_PX, _FACE_PX)
    draw.text((56, 28), word.upper(), BLACK, face, anchor="mm")
    return Card(image, (Question("word", (question, word)),))


def _things_card(rng: random.Random, row: Row, many: str) -> Card:
    """Draw an empty sign of one colour above one to four things of one kind and colour.

    No wording reveals whether there is one thing or several.
    """
    image, colour = _background(rng), COLOURS[row.sign]
    ImageDraw.Draw(image).rounded_rectangle(_SIGN, 4, colour, mixed(colour, BLACK, 0.4))
    thing = _thing(row.kind, row.colour)
    for slot in rng.sample(range(_MOST), row.number):
        left = _SLOT_PX * slot + (_SLOT_PX - thing.width) // 2
        image.paste(thing, (left, _BASELINE_PX - thing.height), thing)
    questions = (
        Question("colour", ("What color is the sign?", row.sign)),
        Question("colour", (f"What color is each {row.kind}?", row.colour)),
        Question("count", (many.format(row.kind), str(row.number))),
    )
    return Card(image, questions)


@cache
def _thing(kind: str, colour: str) -> Image.Image:
    sprite = draw_sprite(kind, COLOURS[colour], _THING_PX)
    widest = _SLOT_PX - 1
    if sprite.width <= widest:
        return sprite
    return sprite.resize((widest, round(sprite.height * widest / sprite.width)))
