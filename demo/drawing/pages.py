"""Printed matter: book covers, scanned papers and tall infographics."""

import random
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from demo.drawing.ink import (
    COLOURS,
    RGB,
    WHITE,
    WORDS,
    fitting_font,
    font,
    generator,
    grained,
    mixed,
    readable_on,
    smooth_noise,
    to_image,
    wrapped,
)

GENRES: Final = (
    "Mystery", "Romance", "History", "Science", "Cooking", "Travel", "Poetry", "Fantasy",
    "Biography", "Children", "Business", "Art",
)  # fmt: skip
_TITLES: Final = (
    "The {0} {1}", "{0} and {1}", "The {1} of {0}", "Beyond the {0}", "The Last {0}",
    "Letters from {0} {1}", "My {0} Year", "The {0} Keeper",
)  # fmt: skip
_FIRST_NAMES: Final = (
    "Anna", "Omar", "Clara", "David", "Elena", "Frank", "Grace", "Hugo", "Ines", "James", "Kira",
    "Leon", "Maria", "Nadia", "Oscar", "Paula", "Rosa", "Samuel", "Tara", "Victor",
)  # fmt: skip
_LAST_NAMES: Final = (
    "Abbott", "Becker", "Castillo", "Dalton", "Ellis", "Fischer", "Garner", "Holt", "Ivanova",
    "Jensen", "Keller", "Lambert", "Moreau", "Novak", "Okafor", "Porter", "Quinn", "Rossi",
    "Sato", "Turner", "Vargas", "Walsh", "Young", "Zimmer",
)  # fmt: skip
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_TRADES: Final = ("Trading Co.", "Supply Ltd.", "Press Inc.", "Foods Ltd.", "Motors Inc.")
_SUBJECTS: Final = (
    "Homes with a garden", "Trips made by bicycle", "Adults who read daily", "Waste recycled",
    "People who drink tea", "Schools with a library", "Workers who walk", "Meals cooked at home",
    "Towns with a museum", "Farms using solar power", "Children who swim", "Offices with plants",
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
    paper, art = (mixed(COLOURS[name], WHITE, 0.1) for name in rng.sample(list(COLOURS), 2))
    image = _wash(rng, width, height, paper)
    _draw_artwork(rng, image, art)
    draw = ImageDraw.Draw(image)
    top = round(height * rng.choice((0.1, 0.42)))
    panel = mixed(paper, readable_on(art), 0.12)
    lines, size = _title_lines(title, width * 0.82, rng.randint(30, 36))
    tall = len(lines) * (size + 6)
    draw.rectangle((0, top - 10, width, top + tall + 30), panel)
    ink = readable_on(panel)
    for row, line in enumerate(lines):
        draw.text((width / 2, top + row * (size + 6)), line, ink, font(size), anchor="mt")
    draw.text((width / 2, top + tall + 12), author, ink, font(17), anchor="mm")
    for place, text in ((0.045, genre.upper()), (0.955, str(year))):
        _label(draw, width / 2, height * place, text, panel)
    return Cover(grained(image, generator(rng), 3), title, author, genre, year)


def _person(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST_NAMES)} {rng.choice(_LAST_NAMES)}"


def _wash(rng: random.Random, width: int, height: int, colour: RGB) -> Image.Image:
    """Uneven paint over a whole image."""
    noise = generator(rng)
    light = 1 + 0.25 * smooth_noise(noise, width, height, 3, 4)
    return to_image(np.asarray(colour, dtype=np.float32)[:, None, None] * light + 12)


def _draw_artwork(rng: random.Random, image: Image.Image, colour: RGB) -> None:
    draw = ImageDraw.Draw(image)
    width, height = image.size
    style = rng.choice(("discs", "peaks", "stripes"))
    for _ in range(rng.randint(3, 6)):
        shade = mixed(colour, rng.choice(((0, 0, 0), (255, 255, 255))), rng.uniform(0, 0.5))
        x, y = rng.uniform(0, width), rng.uniform(0.2, 1) * height
        reach = rng.uniform(0.12, 0.4) * width
        if style == "discs":
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), shade)
        elif style == "peaks":
            draw.polygon([(x - reach, height), (x, y), (x + reach, height)], shade)
        else:
            draw.line((x - reach, 0, x + reach, height), shade, round(reach / 3))


def _title_lines(title: str, width: float, largest: int) -> tuple[list[str], int]:
    longest = max(title.split(), key=len)
    size = round(fitting_font(longest, width, largest).size)
    return wrapped(title, font(size), width), size


def _label(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, fill: RGB) -> None:
    half = font(14).getlength(text) / 2 + 8
    draw.rectangle((x - half, y - 10, x + half, y + 10), fill)
    draw.text((x, y), text, readable_on(fill), font(14), anchor="mm")


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
    sheet = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(sheet)
    draw.text((width / 2, 34), company, 20, fitting_font(company, width * 0.8, 25), anchor="mm")
    draw.text((width / 2, 62), kind.upper(), 60, font(15), anchor="mm")
    draw.line((28, 78, width - 28, 78), 60, 2)
    bottom = _print_fields(draw, fields, boxed=kind == "form")
    if kind == "invoice":
        fields.append(("Total", _print_items(rng, draw, bottom)))
    else:
        _print_prose(rng, draw, bottom, height - 40)
    return Page(_scanned(rng, sheet), kind, (("Company", company), *fields))


def _print_fields(draw: ImageDraw.ImageDraw, fields: list[tuple[str, str]], *, boxed: bool) -> int:
    top = 92
    for name, value in fields:
        draw.text((34, top), f"{name}:", 40, font(15))
        draw.text((132, top), value, 25, font(16))
        if boxed:
            draw.rectangle((124, top - 4, 320, top + 20), outline=90)
        top += 30
    return top + 10


def _print_items(rng: random.Random, draw: ImageDraw.ImageDraw, top: int) -> str:
    """Prints a table of goods and returns the total at its foot."""
    total_cents = 0
    right = 320
    for item in rng.sample(WORDS, rng.randint(3, 5)):
        cents = rng.randint(150, 19_999)
        total_cents += cents
        draw.text((34, top), item.title(), 40, font(15))
        draw.text((right, top), f"${cents / 100:,.2f}", 40, font(15), anchor="ra")
        top += 25
        draw.line((30, top - 4, right, top - 4), 170)
    total = f"${total_cents / 100:,.2f}"
    draw.text((34, top + 8), "Total:", 20, font(18))
    draw.text((right, top + 8), total, 20, font(18), anchor="ra")
    return total


def _print_prose(rng: random.Random, draw: ImageDraw.ImageDraw, top: int, bottom: int) -> None:
    right = rng.randint(290, 330)
    while top < bottom - rng.randint(0, 60):
        words = " ".join(rng.sample(WORDS, rng.randint(20, 36))).capitalize() + "."
        for line in wrapped(words, font(14), right - 34):
            if top < bottom:
                draw.text((34, top), line, 55, font(14))
            top += 20
        top += 14


def _scanned(rng: random.Random, sheet: Image.Image) -> Image.Image:
    """The sheet as it comes off a scanner: a little askew, stained and grainy."""
    noise = generator(rng)
    turned = sheet.rotate(rng.uniform(-1.6, 1.6), Image.Resampling.BILINEAR, fillcolor=255)
    stains = 0.93 + 0.07 * smooth_noise(noise, *sheet.size, 5, 6)
    grey = np.clip(np.asarray(turned, dtype=np.float32) * stains, 0, 255).astype(np.uint8)
    aged = grained(Image.fromarray(grey), noise, rng.randint(4, 12))
    return ImageOps.colorize(aged, _INK, (255, 255, rng.randint(228, 252)))


def draw_infographic(rng: random.Random) -> Infographic:
    width = rng.randrange(290, 331, 10)
    subjects = rng.sample(_SUBJECTS, rng.randint(4, 6))
    facts = tuple((subject, f"{rng.randint(3, 97)}%") for subject in subjects)
    title = f"Life in {rng.choice(WORDS).title()} Town"
    band = rng.randint(120, 150)
    image = Image.new("RGB", (width, 110 + band * len(facts) + 30), WHITE)
    draw = ImageDraw.Draw(image)
    names = rng.sample([name for name in COLOURS if name != "white"], len(facts) + 1)
    hues = [mixed(COLOURS[name], WHITE, rng.uniform(0.0, 0.3)) for name in names]
    draw.rectangle((0, 0, width, 110), hues[-1])
    face = fitting_font(title, width - 30, 34)
    draw.text((width / 2, 46), title, readable_on(hues[-1]), face, anchor="mm")
    draw.text((width / 2, 84), "in numbers", readable_on(hues[-1]), font(16), anchor="mm")
    for row, ((label, value), hue) in enumerate(zip(facts, hues, strict=False)):
        _draw_band(draw, (width, 110 + row * band, band), label, value, hue, row % 2 == 0)
    return Infographic(image, title, facts)


def _draw_band(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int, int],
    label: str,
    value: str,
    hue: RGB,
    on_left: bool,
) -> None:
    """One fact: its value in a ring that is filled as far as the value, and its label."""
    width, top, band = place
    draw.rectangle((0, top, width, top + band), mixed(hue, WHITE, 0.78))
    middle = top + band // 2
    reach = band // 2 - 14
    x = reach + 18 if on_left else width - reach - 18
    ring = (x - reach, middle - reach, x + reach, middle + reach)
    draw.ellipse(ring, mixed(hue, WHITE, 0.5))
    draw.pieslice(ring, -90, -90 + 3.6 * int(value.rstrip("%")), hue)
    hole = reach - 16
    draw.ellipse((x - hole, middle - hole, x + hole, middle + hole), WHITE)
    draw.text((x, middle), value, _INK, font(24), anchor="mm")
    start = 2 * reach + 32 if on_left else 16
    lines = wrapped(label, font(18), width - 2 * reach - 46)
    for row, line in enumerate(lines):
        draw.text((start, middle - 12 * len(lines) + 24 * row), line, _INK, font(18))
