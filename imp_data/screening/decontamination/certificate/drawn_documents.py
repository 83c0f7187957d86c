"""Draw documents of one template each: charts, tables, pages, receipts, slides and covers."""

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_INK, _RULE = (32, 33, 36), (206, 210, 216)
_SERIES = ("#2f6eba", "#d9730d", "#62a328", "#8a5a9e", "#be2828")
_WORDS = (
    "the", "report", "of", "annual", "growth", "in", "market", "shows", "that", "water", "and",
    "energy", "costs", "were", "lower", "than", "expected", "for", "most", "regions", "because",
    "new", "plants", "started", "during", "summer", "while", "demand", "from", "industry", "fell",
    "slowly", "a", "committee", "will", "review", "these", "figures", "before", "next", "session",
)  # fmt: skip
_ITEMS = ("Coffee", "Bread", "Apples", "Milk", "Cheese", "Rice", "Tea", "Soap", "Pasta", "Butter")


class _Template:
    """The look of a family of documents, from its seed; the content comes from another."""

    def __init__(self, family: int) -> None:
        generator = np.random.default_rng((7, family))
        self.colour = _SERIES[int(generator.integers(0, len(_SERIES)))]
        self.title = " ".join(_words(generator, 3)).capitalize()
        self.count = int(generator.integers(4, 9))
        self.margin = int(generator.integers(24, 60))
        self.kind = int(generator.integers(0, 3))


def draw_document(kind: str, family: int, number: int) -> Image.Image:
    """Draw document `number` of a family: same template, other content."""
    generator = np.random.default_rng((11, family, number))
    return DRAWN_DOCUMENTS[kind](_Template(family), generator)


def _words(generator: np.random.Generator, count: int) -> list[str]:
    return [_WORDS[int(n)] for n in generator.integers(0, len(_WORDS), count)]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), "white")
    return image, ImageDraw.Draw(image)


def _draw_chart(look: _Template, generator: np.random.Generator) -> Image.Image:
    image, draw = _canvas(600, 420)
    left, top, right, bottom = look.margin + 20, 60, 580, 370
    draw.text((300, 28), look.title, _INK, _font(20), "mm")
    for line in range(6):
        y = bottom - (bottom - top) * line // 5
        draw.line((left, y, right, y), _RULE)
        draw.text((left - 6, y), str(20 * line), _INK, _font(13), "rm")
    values = [int(n) for n in generator.integers(5, 100, look.count)]
    slot = (right - left) // look.count
    tops = [(left + slot * n + slot // 2, bottom - 3 * v) for n, v in enumerate(values)]
    if look.kind == 0:
        draw.line(tops, look.colour, 3)
    for n, (x, y) in enumerate(tops):
        if look.kind == 1:
            draw.rectangle((x - slot // 3, y, x + slot // 3, bottom), look.colour)
        elif look.kind == 2:
            draw.ellipse((x - 8, y - 8, x + 8, y + 8), look.colour)
        draw.text((x, bottom + 14), str(2010 + n), _INK, _font(13), "mm")
    return image


def _draw_table(look: _Template, generator: np.random.Generator) -> Image.Image:
    rows = look.count + 4
    image, draw = _canvas(640, 40 * rows + 60)
    draw.text((20, 20), look.title, _INK, _font(20))
    draw.rectangle((20, 54, 620, 86), look.colour)
    for row in range(rows):
        y = 70 + 36 * row
        draw.line((20, y + 17, 620, y + 17), _RULE)
        cells = [_words(generator, 1)[0], *(str(n) for n in generator.integers(10, 9999, 3))]
        for column, cell in enumerate(cells):
            draw.text((32 + 150 * column, y), cell, _INK if row else "white", _font(16), "lm")
    return image


def _draw_page(look: _Template, generator: np.random.Generator) -> Image.Image:
    image, draw = _canvas(620, 800)
    left = look.margin
    draw.text((left, 40), look.title, look.colour, _font(24))
    draw.line((left, 76, 620 - left, 76), look.colour, 2)
    y = 96
    for _ in range(look.count):
        lines = int(generator.integers(2, 7))
        for _ in range(lines):
            draw.text((left, y), _line(generator, (620 - 2 * left) // 7), _INK, _font(13))
            y += 18
        y += 14
        if y > 740:
            break
    return image


def _line(generator: np.random.Generator, characters: int) -> str:
    text = ""
    while len(text) < characters - 8:
        text += _words(generator, 1)[0] + " "
    return text


def _draw_receipt(look: _Template, generator: np.random.Generator) -> Image.Image:
    image, draw = _canvas(320, 640)
    draw.text((160, 30), look.title.upper()[:22], _INK, _font(18), "mm")
    total, y = 0, 70
    for _ in range(look.count + int(generator.integers(2, 7))):
        price = int(generator.integers(50, 2000))
        total += price
        item = _ITEMS[int(generator.integers(0, len(_ITEMS)))]
        draw.text((24, y), item, _INK, _font(15))
        draw.text((296, y), f"{price // 100}.{price % 100:02d}", _INK, _font(15), "ra")
        y += 26
    draw.line((24, y + 6, 296, y + 6), _INK, 2)
    draw.text((24, y + 16), "TOTAL", _INK, _font(18))
    draw.text((296, y + 16), f"{total // 100}.{total % 100:02d}", _INK, _font(18), "ra")
    return image


def _draw_slide(look: _Template, generator: np.random.Generator) -> Image.Image:
    image, draw = _canvas(720, 405)
    draw.rectangle((0, 0, 720, 70), look.colour)
    draw.text((30, 36), " ".join(_words(generator, 4)).capitalize(), "white", _font(26), "lm")
    for row in range(int(generator.integers(3, 6))):
        draw.ellipse((40, 112 + 50 * row, 50, 122 + 50 * row), look.colour)
        draw.text((66, 117 + 50 * row), " ".join(_words(generator, 6)), _INK, _font(20), "lm")
    draw.text((690, 388), look.title, _RULE, _font(13), "rm")
    return image


def _draw_cover(look: _Template, generator: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (400, 600), look.colour)
    draw = ImageDraw.Draw(image)
    draw.rectangle((look.margin, 60, 400 - look.margin, 240), "white")
    for row, words in enumerate(" ".join(_words(generator, 2)).upper().split()):
        draw.text((200, 110 + 60 * row), words, _INK, _font(32), "mm")
    x, y = (int(n) for n in generator.integers(120, 281, 2))
    draw.ellipse((x - 70, y + 140, x + 70, y + 280), "#f2c14e")
    draw.text((200, 570), " ".join(_words(generator, 2)).title(), "white", _font(20), "mm")
    return image


_Draw = Callable[[_Template, np.random.Generator], Image.Image]
DRAWN_DOCUMENTS: Mapping[str, _Draw] = {
    "chart": _draw_chart,
    "table": _draw_table,
    "page": _draw_page,
    "receipt": _draw_receipt,
    "slide": _draw_slide,
    "cover": _draw_cover,
}
