"""Bar, line and pie charts drawn from numbers that can be read off them."""

import random
from dataclasses import dataclass
from math import cos, radians, sin
from typing import Final

from PIL import Image, ImageDraw

from demo.drawing.ink import COLOURS, RGB, WHITE, WORDS, Box, fitting_font, font, unevenly_lit

_INK: Final[RGB] = (40, 40, 44)
_GRID: Final[RGB] = (222, 222, 226)
_SERIES: Final[tuple[RGB, ...]] = (
    (47, 110, 186), (16, 34, 66), (150, 150, 150), (190, 40, 40), (98, 163, 40), (235, 160, 30),
)  # fmt: skip
_TOPICS: Final = (
    "Share of people who own a {0}", "Households with a {0}", "Adults who want a {0}",
    "Children who have seen a {0}", "Families that bought a {0}", "Schools that keep a {0}",
)  # fmt: skip
_GOODS: Final = (
    "piano", "canoe", "kettle", "radio", "camera", "parrot", "rabbit", "guitar", "tent", "bicycle",
    "telescope", "sewing machine", "violin", "hammock", "printer", "pony",
)  # fmt: skip
_TITLES: Final = (
    "Sales of different items", "Most preferred objects", "Units sold in different stores",
    "Results of the survey", "Accuracy of different methods", "Ratings of all products",
)  # fmt: skip
_COUNTRIES: Final = (
    "Brazil", "Canada", "Chile", "Egypt", "France", "Ghana", "India", "Italy", "Japan", "Kenya",
    "Mexico", "Norway", "Peru", "Poland", "Spain", "Turkey",
)  # fmt: skip


Point = tuple[float, float]


@dataclass(frozen=True)
class BarChart:
    """A plain bar chart; with a legend, the legend names the bars and the axis does not."""

    image: Image.Image
    title: str
    labels: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[str, ...]
    has_legend: bool


@dataclass(frozen=True)
class StatistaChart:
    """A published-looking chart of kind 'bar', 'line' or 'pie' with its values printed on it."""

    image: Image.Image
    title: str
    kind: str
    labels: tuple[str, ...]
    values: tuple[float, ...]


def draw_bar_chart(rng: random.Random) -> BarChart:
    width, height = rng.randrange(340, 461, 20), rng.randrange(280, 361, 20)
    has_legend = rng.random() < 0.4
    count = rng.randint(3, 5)
    labels = tuple(rng.sample([word for word in WORDS if len(word) < 7], count))
    colours = tuple(rng.sample([name for name in COLOURS if name != "white"], count))
    step = rng.choice((1, 1, 2, 10))
    values = tuple(step * value for value in rng.sample(range(1, 10), count))
    title = rng.choice(_TITLES)
    image = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    plot = (58, 36, width - (112 if has_legend else 16), height - 52)
    _draw_frame(draw, plot, step)
    _draw_bars(draw, plot, [value / (10 * step) for value in values], colours)
    draw.text(((plot[0] + plot[2]) / 2, 20), title, _INK, font(17), anchor="mm")
    if has_legend:
        _draw_legend(draw, plot[2] + 10, plot[1] + 8, labels, colours)
    else:
        _draw_tick_labels(draw, plot, labels)
    return BarChart(image, title, labels, values, colours, has_legend)


def _draw_frame(draw: ImageDraw.ImageDraw, plot: Box, step: int) -> None:
    left, top, right, bottom = plot
    for tick in range(0, 11, 2):
        y = bottom - (bottom - top) * tick / 10
        draw.line((left, y, right, y), _GRID)
        draw.line((left - 4, y, left, y), _INK)
        draw.text((left - 7, y), str(tick * step), _INK, font(13), anchor="rm")
    draw.rectangle(plot, outline=_INK)


def _slot(plot: Box, position: int, count: int) -> tuple[float, float]:
    """Return the left and right edge of the slot of a bar."""
    wide = (plot[2] - plot[0]) / count
    return plot[0] + position * wide, plot[0] + (position + 1) * wide


def _draw_bars(
    draw: ImageDraw.ImageDraw, plot: Box, shares: list[float], colours: tuple[str, ...]
) -> None:
    for position, (share, colour) in enumerate(zip(shares, colours, strict=True)):
        left, right = _slot(plot, position, len(shares))
        margin = (right - left) * 0.14
        top = plot[3] - share * (plot[3] - plot[1])
        draw.rectangle((left + margin, top, right - margin, plot[3]), COLOURS[colour], _INK)


def _draw_tick_labels(draw: ImageDraw.ImageDraw, plot: Box, labels: tuple[str, ...]) -> None:
    for position, label in enumerate(labels):
        left, right = _slot(plot, position, len(labels))
        face = fitting_font(label, right - left - 4, 15)
        draw.text(((left + right) / 2, plot[3] + 13), label, _INK, face, anchor="mm")


def _draw_legend(
    draw: ImageDraw.ImageDraw, left: int, top: int, names: tuple[str, ...], colours: tuple[str, ...]
) -> None:
    draw.rectangle((left - 5, top - 6, left + 94, top + 22 * len(names)), WHITE, _GRID)
    for row, (name, colour) in enumerate(zip(names, colours, strict=True)):
        y = top + 22 * row
        draw.rectangle((left, y, left + 16, y + 12), COLOURS[colour], _INK)
        draw.text((left + 23, y + 6), name, _INK, font(14), anchor="lm")


def draw_statista_chart(rng: random.Random) -> StatistaChart:
    width, height = rng.randrange(360, 481, 20), rng.randrange(300, 361, 20)
    kind = rng.choice(("bar", "line", "pie"))
    count = rng.randint(4, 6) if kind != "pie" else rng.randint(3, 5)
    labels = _labels(rng, kind, count)
    values = _percentages(rng, count) if kind == "pie" else _readings(rng, count)
    title = rng.choice(_TOPICS).format(rng.choice(_GOODS))
    image = unevenly_lit(rng, Image.new("RGB", (width, height), (214, 218, 226)), 0.7)
    draw = ImageDraw.Draw(image)
    plot = (40, 66, width - 20, height - 50)
    draw.text((18, 24), title, _INK, fitting_font(title, width - 36, 18), anchor="lm")
    for (x, y), value in zip(_PAINTERS[kind](draw, plot, values), values, strict=True):
        draw.text((x, y), f"{value:g}%", _INK, font(15), "mm", stroke_width=2, stroke_fill="white")
    if kind == "pie":
        for row, (label, hue) in enumerate(zip(labels, _SERIES, strict=False)):
            y = 90 + 28 * row
            draw.ellipse((width * 0.68, y - 6, width * 0.68 + 12, y + 6), hue)
            draw.text((width * 0.68 + 20, y), label, _INK, font(16), anchor="lm")
    else:
        _draw_tick_labels(draw, plot, labels)
    return StatistaChart(image, title, kind, labels, values)


def _tops(plot: Box, values: tuple[float, ...]) -> list[Point]:
    """Return the point of each value, in the middle of its slot."""
    slots = [_slot(plot, position, len(values)) for position in range(len(values))]
    return [
        ((left + right) / 2, plot[3] - (plot[3] - plot[1]) * value / 100)
        for (left, right), value in zip(slots, values, strict=True)
    ]


def _paint_bars(draw: ImageDraw.ImageDraw, plot: Box, values: tuple[float, ...]) -> list[Point]:
    tops = _tops(plot, values)
    half = 0.32 * (plot[2] - plot[0]) / len(values)
    for x, y in tops:
        draw.rectangle((x - half, y, x + half, plot[3]), _SERIES[0])
    return [(x, y - 11) for x, y in tops]


def _paint_line(draw: ImageDraw.ImageDraw, plot: Box, values: tuple[float, ...]) -> list[Point]:
    tops = _tops(plot, values)
    draw.line(tops, _SERIES[0], 3, joint="curve")
    for x, y in tops:
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), _SERIES[1])
    return [(x, y - 15) for x, y in tops]


def _paint_pie(draw: ImageDraw.ImageDraw, plot: Box, values: tuple[float, ...]) -> list[Point]:
    left, top, right, bottom = plot
    reach = min((right - left) * 0.3, (bottom - top) * 0.42)
    x, y = left + (right - left) * 0.34, (top + bottom) / 2
    marks, start = [], -90.0
    for value, hue in zip(values, _SERIES, strict=False):
        end = start + 3.6 * value
        draw.pieslice((x - reach, y - reach, x + reach, y + reach), start, end, hue)
        middle = radians((start + end) / 2)
        marks.append((x + 1.17 * reach * cos(middle), y + 1.17 * reach * sin(middle)))
        start = end
    return marks


_PAINTERS: Final = {"bar": _paint_bars, "line": _paint_line, "pie": _paint_pie}


def _labels(rng: random.Random, kind: str, count: int) -> tuple[str, ...]:
    if kind == "line" or (kind == "bar" and rng.random() < 0.4):
        first = rng.randint(1995, 2017)
        return tuple(str(first + position) for position in range(count))
    return tuple(rng.sample(_COUNTRIES, count))


def _readings(rng: random.Random, count: int) -> tuple[float, ...]:
    return tuple(reading / 2 for reading in rng.sample(range(10, 190), count))


def _percentages(rng: random.Random, count: int) -> tuple[float, ...]:
    """Return distinct whole percentages of at least 8 that add up to 100."""
    while True:
        cuts = sorted(rng.sample(range(8, 93), count - 1))
        parts = [after - before for before, after in zip([0, *cuts], [*cuts, 100], strict=True)]
        if min(parts) >= 8 and len(set(parts)) == count:
            return tuple(float(part) for part in parts)
