"""Printed matter: book covers, scanned papers and tall infographics."""

import random
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from demo.drawing.ink import (
    COLOURS,
    RGB,
    WHITE,
    WORDS,
    fitting_font,
    font,
    mixed,
    readable_on,
    unevenly_lit,
    wrapped,
)

GENRES: Final = (
    "Mystery", "Romance", "History", "Science", "Cooking", "Travel", "Poetry", "Fantasy",
)  # fmt: skip
_TITLES: Final = ("The {0} {1}", "{0} and {1}", "The {1} of {0}", "Letters from {0} {1}")
_FIRST_NAMES: Final = (
    "Anna", "Omar", "Clara", "David", "Elena", "Frank", "Grace", "Hugo", "Ines", "James", "Kira",
)  # fmt: skip
_LAST_NAMES: Final = (
    "Abbott", "Becker", "Castillo", "Dalton", "Ellis", "Fischer", "Garner", "Holt", "Ivanova",
)  # fmt: skip
_MONTHS: Final = ("January", "March", "May", "July", "August", "October", "December")
_TRADES: Final = ("Trading Co.", "Supply Ltd.", "Press Inc.", "Foods Ltd.", "Motors Inc.")
_SUBJECTS: Final = (
    "Homes with a garden", "Trips made by bicycle", "Adults who read daily", "Waste recycled",
    "People who drink tea", "Schools with a library", "Workers who walk", "Meals cooked at home",
)  # fmt: skip
_INK: Final[RGB] = (38, 38, 44)


@dataclass(frozen=True)
class Cover:
    """A book cover with its title, author, genre and year printed on it."""

    image: Image.Image
    title: str
    author: str
    genre: str
    year: int


@dataclass(frozen=True)
class Page:
    """A scanned letter, form or invoice; `fields` are printed as names beside values."""

    image: Image.Image
    kind: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Infographic:
    """A tall page; `facts` are labels with the values printed beside them."""

    image: Image.Image
    title: str
    facts: tuple[tuple[str, str], ...]


def draw_cover(rng: random.Random) -> Cover:
    width = rng.randrange(236, 300, 4)
    height = round(width * rng.uniform(1.35, 1.55))
    title = rng.choice(_TITLES).format(*(word.title() for word in rng.sample(WORDS, 2)))
    author, genre, year = _person(rng), rng.choice(GENRES), rng.randint(1950, 2023)
    paper = mixed(COLOURS[rng.choice(list(COLOURS))], WHITE, 0.1)
    image = unevenly_lit(rng, Image.new("RGB", (width, height), mixed(paper, _INK, 0.3)))
    draw = ImageDraw.Draw(image)
    size = round(fitting_font(max(title.split(), key=len), width * 0.82, 34).size)
    lines = wrapped(title, font(size), width * 0.82)
    top, tall = round(height * rng.choice((0.12, 0.4))), len(lines) * (size + 6)
    draw.rectangle((0, top - 10, width, top + tall + 30), paper)
    ink = readable_on(paper)
    for row, line in enumerate(lines):
        draw.text((width / 2, top + row * (size + 6)), line, ink, font(size), anchor="mt")
    draw.text((width / 2, top + tall + 12), author, ink, font(17), anchor="mm")
    for y, text in ((14, genre.upper()), (height - 14, str(year))):
        half = font(14).getlength(text) / 2 + 8
        draw.rectangle((width / 2 - half, y - 10, width / 2 + half, y + 10), paper)
        draw.text((width / 2, y), text, ink, font(14), anchor="mm")
    return Cover(image, title, author, genre, year)


def _person(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST_NAMES)} {rng.choice(_LAST_NAMES)}"


def draw_page(rng: random.Random) -> Page:
    width, height = rng.randrange(350, 391, 10), rng.randrange(460, 501, 10)
    kind = rng.choice(("letter", "form", "invoice"))
    company = f"{rng.choice(WORDS).title()} {rng.choice(_TRADES)}"
    fields = [
        ("Date", f"{rng.choice(_MONTHS)} {rng.randint(1, 28)}, {rng.randint(1965, 2015)}"),
        ("To" if kind == "letter" else "Name", _person(rng)),
        ("Phone", f"{rng.randint(200, 989)}-555-{rng.randint(1000, 9999)}"),
        ("Reference", f"{rng.choice('ABCDEFGHKLMNPRSTUVWXYZ')}-{rng.randint(100, 9999)}"),
    ]
    rng.shuffle(fields)
    if kind == "invoice":
        fields.append(("Total", f"${rng.randint(1_000, 99_999) / 100:,.2f}"))
    paper = Image.new("RGB", (width, height), (244, 242, rng.randint(220, 240)))
    image = unevenly_lit(rng, paper, 0.5)
    draw = ImageDraw.Draw(image)
    draw.text((width / 2, 34), company, _INK, fitting_font(company, width * 0.8, 25), anchor="mm")
    draw.text((width / 2, 62), kind.upper(), _INK, font(15), anchor="mm")
    draw.line((28, 78, width - 28, 78), _INK, 2)
    for row, (name, value) in enumerate(fields):
        draw.text((34, 92 + 30 * row), f"{name}:", _INK, font(15))
        draw.text((132, 92 + 30 * row), value, _INK, font(16))
    words = " ".join(rng.sample(WORDS, rng.randint(20, 70))).capitalize() + "."
    for row, line in enumerate(wrapped(words, font(14), width - 68)):
        draw.text((34, 262 + 20 * row), line, _INK, font(14))
    return Page(image, kind, (("Company", company), *fields))


def draw_infographic(rng: random.Random) -> Infographic:
    width = rng.randrange(290, 331, 10)
    subjects = rng.sample(_SUBJECTS, rng.randint(4, 6))
    facts = tuple((subject, f"{rng.randint(3, 97)}%") for subject in subjects)
    title = f"Life in {rng.choice(WORDS).title()} Town"
    band = rng.randint(120, 150)
    image = Image.new("RGB", (width, 110 + band * len(facts) + 30), WHITE)
    draw = ImageDraw.Draw(image)
    draw.text((width / 2, 55), title, _INK, fitting_font(title, width - 30, 34), anchor="mm")
    for row, (label, value) in enumerate(facts):
        top = 110 + row * band
        hue = mixed(COLOURS[rng.choice(list(COLOURS))], WHITE, rng.uniform(0.2, 0.6))
        draw.rectangle((0, top, width, top + band), hue)
        draw.text((width * 0.18, top + band / 2), value, _INK, font(32), anchor="mm")
        for line, text in enumerate(wrapped(label, font(18), width * 0.6)):
            draw.text((width * 0.36, top + 40 + 24 * line), text, _INK, font(18))
    return Infographic(unevenly_lit(rng, image, 0.3), title, facts)
