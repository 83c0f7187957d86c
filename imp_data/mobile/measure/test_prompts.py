"""What a model is asked when its exports are compared: drawn images of several shapes."""

from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from imp_data.errors import UserError
from imp_data.images.decoding import NoImage, decode_rgb


class Case(NamedTuple):
    """A question, with an image or without."""

    name: str
    question: str
    image: Image.Image | None


def default_cases() -> list[Case]:
    """A wide, a tall and a square image, so that a kept aspect shows; and a text alone."""
    return [
        Case("wide", "What is in the image?", _scene(480, 160)),
        Case("tall", "What colour is the circle?", _scene(150, 450)),
        Case("square", "How many shapes are there?", _scene(300, 300)),
        Case("text", "What is an image?", None),
    ]


def given_cases(images: list[Path], question: str) -> list[Case]:
    """One question about each of these files."""
    return [Case(path.name, question, _opened(path)) for path in images]


def _opened(path: Path) -> Image.Image:
    try:
        return decode_rgb(path.read_bytes())
    except (OSError, NoImage) as error:
        raise UserError(path, f"is no image ({error})", "name a PNG or JPEG") from error


def _scene(width: int, height: int) -> Image.Image:
    """A sloping ground, a circle, a box and a triangle: no part looks like another."""
    slope = Image.linear_gradient("L").resize((width, height)).rotate(20, fillcolor=90)
    image = Image.merge("RGB", (slope, slope.point(lambda v: 255 - v), slope.rotate(90)))
    pen = ImageDraw.Draw(image)
    w, h = width / 12, height / 12
    pen.ellipse((w, h, 5 * w, 5 * h), fill=(220, 30, 40))
    pen.rectangle((7 * w, 2 * h, 11 * w, 6 * h), fill=(30, 60, 200), outline=(250, 250, 250))
    pen.polygon([(3 * w, 11 * h), (6 * w, 7 * h), (9 * w, 11 * h)], fill=(20, 160, 70))
    return image
