"""The things in the demo's scenes and on its cards, each in one named colour."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from demo.drawing.ink import BLACK, RGB, WHITE, mixed

_OVERSAMPLING = 3
_WOOD: Final[RGB] = (104, 70, 42)
_GLASS: Final[RGB] = (176, 205, 220)
_BEAK: Final[RGB] = (235, 150, 40)

Point = tuple[float, float]


class Pen:
    """Draw in fractions of a sprite's width and height, in one colour and its shades."""

    def __init__(self, width_px: int, height_px: int, colour: RGB) -> None:
        self._size = (width_px * _OVERSAMPLING, height_px * _OVERSAMPLING)
        # Transparent pixels have the colour too, so that edges do not darken when reduced.
        self._sheet = Image.new("RGBA", self._size, (*colour, 0))
        self._draw = ImageDraw.Draw(self._sheet)
        self.colour = colour
        self.dark = mixed(colour, BLACK, 0.4)
        # A black thing has darker highlights, because it would look grey otherwise.
        is_black = colour == BLACK
        self.light = mixed(colour, WHITE, 0.1 if is_black else 0.25)
        self.eye = WHITE if is_black else BLACK

    def ellipse(self, left: float, top: float, right: float, bottom: float, fill: RGB) -> None:
        self._draw.ellipse(self._points([(left, top), (right, bottom)]), fill)

    def ring(self, left: float, top: float, right: float, bottom: float, fill: RGB) -> None:
        corners = self._points([(left, top), (right, bottom)])
        self._draw.ellipse(corners, outline=fill, width=round(0.1 * self._size[1]))

    def block(self, left: float, top: float, right: float, bottom: float, fill: RGB) -> None:
        corners = self._points([(left, top), (right, bottom)])
        self._draw.rounded_rectangle(corners, self._size[1] * 0.03, fill)

    def polygon(self, fill: RGB, *points: Point) -> None:
        self._draw.polygon(self._points(points), fill)

    def sprite(self) -> Image.Image:
        return self._sheet.reduce(_OVERSAMPLING)

    def _points(self, points: Sequence[Point]) -> list[Point]:
        width, height = self._size
        return [(x * (width - 1), y * (height - 1)) for x, y in points]


def _ball(pen: Pen) -> None:
    pen.ellipse(0, 0, 1, 1, pen.colour)
    pen.ellipse(0.2, 0.12, 0.48, 0.36, pen.light)
    pen.ellipse(0.27, 0.17, 0.4, 0.28, mixed(pen.light, WHITE, 0.5))


def _car(pen: Pen) -> None:
    pen.polygon(pen.colour, (0.16, 0.5), (0.31, 0.06), (0.68, 0.06), (0.86, 0.5))
    pen.polygon(_GLASS, (0.25, 0.44), (0.35, 0.14), (0.48, 0.14), (0.48, 0.44))
    pen.polygon(_GLASS, (0.53, 0.44), (0.53, 0.14), (0.65, 0.14), (0.76, 0.44))
    pen.block(0, 0.44, 1, 0.84, pen.colour)
    pen.block(0, 0.7, 1, 0.84, pen.dark)
    pen.ellipse(0.94, 0.5, 1, 0.62, (250, 240, 190))
    for hub in (0.22, 0.78):
        pen.ellipse(hub - 0.105, 0.58, hub + 0.105, 1, BLACK)
        pen.ellipse(hub - 0.05, 0.69, hub + 0.05, 0.89, (170, 172, 176))


def _house(pen: Pen) -> None:
    pen.block(0.7, 0.04, 0.8, 0.4, _WOOD)
    pen.block(0.07, 0.3, 0.93, 1, pen.colour)
    pen.polygon(pen.dark, (0, 0.38), (0.5, 0), (1, 0.38))
    pen.block(0.43, 0.66, 0.57, 1, _WOOD)
    for left in (0.17, 0.67):
        pen.block(left, 0.5, left + 0.16, 0.7, WHITE)
        pen.block(left + 0.02, 0.52, left + 0.14, 0.68, (70, 84, 104))


def _tree(pen: Pen) -> None:
    pen.polygon(_WOOD, (0.45, 0.5), (0.55, 0.5), (0.6, 1), (0.4, 1))
    pen.ellipse(0, 0.22, 0.6, 0.68, pen.dark)
    pen.ellipse(0.42, 0.26, 1, 0.7, pen.colour)
    pen.ellipse(0.16, 0, 0.84, 0.5, pen.colour)
    pen.ellipse(0.1, 0.26, 0.56, 0.6, pen.colour)
    pen.ellipse(0.26, 0.06, 0.58, 0.3, pen.light)


def _cup(pen: Pen) -> None:
    pen.ring(0.5, 0.25, 1, 0.75, pen.dark)
    pen.polygon(pen.colour, (0, 0.12), (0.78, 0.12), (0.7, 0.95), (0.08, 0.95))
    pen.ellipse(0.08, 0.88, 0.7, 1, pen.colour)
    pen.ellipse(0, 0.02, 0.78, 0.22, pen.light)
    pen.ellipse(0.06, 0.05, 0.72, 0.19, (70, 44, 28))


def _duck(pen: Pen) -> None:
    pen.polygon(_BEAK, (0.85, 0.22), (1, 0.3), (0.85, 0.38))
    pen.polygon(pen.colour, (0, 0.42), (0.3, 0.62), (0.12, 0.85))
    pen.ellipse(0.04, 0.45, 0.82, 1, pen.colour)
    pen.ellipse(0.52, 0, 0.9, 0.52, pen.colour)
    pen.ellipse(0.2, 0.56, 0.6, 0.84, pen.dark)
    pen.ellipse(0.74, 0.14, 0.81, 0.23, pen.eye)


class Kind(NamedTuple):
    """How to draw a kind of thing, and its ratio of width to height."""

    draw: Callable[[Pen], None]
    aspect: float


KINDS: Final[dict[str, Kind]] = {
    "ball": Kind(_ball, 1.0),
    "car": Kind(_car, 2.1),
    "house": Kind(_house, 1.1),
    "tree": Kind(_tree, 0.72),
    "cup": Kind(_cup, 1.15),
    "duck": Kind(_duck, 1.2),
}


def draw_sprite(kind: str, colour: RGB, height_px: int) -> Image.Image:
    """Draw a thing on a transparent ground, cropped to its visible pixels."""
    shape = KINDS[kind]
    pen = Pen(round(height_px * shape.aspect), height_px, colour)
    shape.draw(pen)
    sprite = pen.sprite()
    return _shaded(sprite.crop(sprite.getchannel("A").getbbox()))


def _shaded(sprite: Image.Image) -> Image.Image:
    """Darken a sprite towards its edges."""
    pixels = np.asarray(sprite, dtype=np.float32).copy()
    across = np.linspace(-1, 1, sprite.width, dtype=np.float32)
    down = np.linspace(-1, 1, sprite.height, dtype=np.float32)[:, None]
    shade = 1.1 - 0.09 * across**2 - 0.08 * (down + 0.7) ** 2
    pixels[:, :, :3] *= shade[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGBA")
