"""The page of a school-book diagram and the small images that stand on it."""

from collections.abc import Callable
from math import atan2, cos, sin
from typing import Final

from PIL import Image, ImageDraw

from demo.drawing.ink import RGB, WHITE, Box, font, mixed

INK: Final[RGB] = (34, 34, 38)
_TEXT_PX: Final = 16
_SCALE: Final = 2

Point = tuple[float, float]


class Sheet:
    """A page drawn at twice its size, so that lines are smooth, on which names come last."""

    def __init__(self, width: int, height: int, paper: RGB) -> None:
        self.width, self.height = width, height
        self._large = Image.new("RGB", (width * _SCALE, height * _SCALE), paper)
        self._draw = ImageDraw.Draw(self._large)
        self.names: list[tuple[str, Box]] = []

    def disc(self, x: float, y: float, across: float, down: float, fill: RGB) -> None:
        box = (x - across, y - down, x + across, y + down)
        self._draw.ellipse([edge * _SCALE for edge in box], fill, INK, _SCALE)

    def shape(self, fill: RGB, *points: Point) -> None:
        self._draw.polygon([(x * _SCALE, y * _SCALE) for x, y in points], fill, INK, _SCALE)

    def line(self, fill: RGB, width: float, *points: Point) -> None:
        corners = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(corners, fill, round(width * _SCALE), joint="curve")

    def arrow(self, start: Point, end: Point, fill: RGB) -> None:
        turn = atan2(end[1] - start[1], end[0] - start[0])
        neck = (end[0] - 9 * cos(turn), end[1] - 9 * sin(turn))
        side = (6 * sin(turn), -6 * cos(turn))
        self.line(fill, 3, start, neck)
        tips = ((neck[0] + side[0], neck[1] + side[1]), (neck[0] - side[0], neck[1] - side[1]))
        self._draw.polygon([(x * _SCALE, y * _SCALE) for x, y in (end, *tips)], fill)

    def name(self, text: str, x: float, y: float) -> None:
        """Reserves a box for the name, centred on the point but inside the page."""
        half, tall = half_width(text), 12
        x = min(max(x, half + 3), self.width - half - 3)
        self.names.append((text, (int(x - half), int(y - tall), int(x + half), int(y + tall))))

    def written(self, texts: dict[str, str]) -> Image.Image:
        """The page with a text in each name's box."""
        page = self._large.reduce(_SCALE)
        draw = ImageDraw.Draw(page)
        for name, (left, top, right, bottom) in self.names:
            draw.rectangle((left, top, right - 1, bottom - 1), WHITE, INK)
            middle = ((left + right) / 2, (top + bottom) / 2)
            draw.text(middle, texts[name], INK, font(_TEXT_PX), anchor="mm")
        return page


def half_width(name: str) -> float:
    """Half the width of the box in which a name is written."""
    return font(_TEXT_PX).getlength(name) / 2 + 6


def draw_emblem(sheet: Sheet, name: str, x: float, y: float) -> None:
    for emblem, names in _EMBLEMS.items():
        if name in names:
            emblem(sheet, x, y)
            return
    _draw_beast(sheet, x, y)


def _draw_sprig(sheet: Sheet, x: float, y: float) -> None:
    for lean in (-11, -4, 4, 11):
        sheet.shape((92, 168, 74), (x - 3, y + 20), (x + lean * 1.8, y - 20), (x + 3, y + 20))


def _draw_fish(sheet: Sheet, x: float, y: float) -> None:
    sheet.shape((70, 120, 190), (x - 12, y), (x - 27, y - 11), (x - 27, y + 11))
    sheet.disc(x, y, 19, 11, (96, 150, 214))
    sheet.disc(x + 11, y - 3, 2, 2, WHITE)


def _draw_bird(sheet: Sheet, x: float, y: float) -> None:
    sheet.shape((235, 170, 60), (x + 16, y - 13), (x + 27, y - 9), (x + 16, y - 6))
    sheet.shape((120, 84, 56), (x - 10, y + 2), (x - 28, y + 12), (x - 8, y + 10))
    sheet.disc(x - 1, y + 4, 16, 11, (160, 116, 80))
    sheet.disc(x + 11, y - 9, 8, 8, (176, 132, 94))
    sheet.shape((120, 84, 56), (x + 4, y), (x - 16, y - 13), (x - 12, y + 8))
    sheet.disc(x + 13, y - 11, 1.5, 1.5, INK)


def _draw_crawler(sheet: Sheet, x: float, y: float) -> None:
    for place in range(-2, 3):
        sheet.disc(x + place * 9, y + 3 * (-1) ** place, 8, 8, (140, 186, 70))
    sheet.disc(x + 23, y - 3, 7, 7, (196, 96, 60))


def _draw_butterfly(sheet: Sheet, x: float, y: float) -> None:
    for side in (-1, 1):
        sheet.disc(x + side * 13, y - 6, 12, 12, (240, 150, 50))
        sheet.disc(x + side * 10, y + 10, 8, 9, (246, 196, 80))
    sheet.disc(x, y, 3, 17, INK)


def _draw_egg(sheet: Sheet, x: float, y: float) -> None:
    sheet.disc(x, y, 13, 17, (244, 232, 206))
    sheet.disc(x - 3, y - 6, 3, 4, WHITE)


def _draw_drop(sheet: Sheet, x: float, y: float) -> None:
    sheet.disc(x, y - 8, 24, 10, (226, 232, 240))
    for lean in (-12, 0, 12):
        middle = x + lean
        sheet.shape((70, 130, 210), (middle, y + 4), (middle + 4, y + 16), (middle - 4, y + 16))


def _draw_beast(sheet: Sheet, x: float, y: float) -> None:
    coat = (186, 138, 96)
    for leg in (-12, -5, 6, 12):
        sheet.line(mixed(coat, INK, 0.4), 4, (x + leg, y + 5), (x + leg, y + 20))
    sheet.line(mixed(coat, INK, 0.4), 3, (x - 14, y), (x - 26, y - 10))
    sheet.disc(x - 1, y + 4, 18, 9, coat)
    sheet.shape(coat, (x + 12, y - 12), (x + 14, y - 20), (x + 18, y - 13))
    sheet.disc(x + 17, y - 6, 9, 8, coat)
    sheet.disc(x + 19, y - 8, 1.5, 1.5, INK)


_EMBLEMS: Final[dict[Callable[[Sheet, float, float], None], frozenset[str]]] = {
    _draw_sprig: frozenset(
        {"grass", "algae", "corn", "leaf", "clover", "plankton"}
        | {"sprout", "young tree", "tree", "fruit"}
    ),
    _draw_fish: frozenset({"shrimp", "herring", "krill", "orca", "tadpole"}),
    _draw_bird: frozenset({"hawk", "owl", "robin", "eagle", "penguin", "chick", "hen"}),
    _draw_crawler: frozenset({"grasshopper", "caterpillar", "snake"}),
    _draw_butterfly: frozenset({"butterfly"}),
    _draw_egg: frozenset({"egg", "pupa", "seed"}),
    _draw_drop: frozenset({"evaporation", "condensation", "rain", "runoff"}),
}
