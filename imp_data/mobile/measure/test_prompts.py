"""Test prompts for the comparison of exports: built-in images of several shapes, or given files."""

from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from imp_data.errors import UserError
from imp_data.images.decoding import NoImage, decode_rgb


class Case(NamedTuple):
    """A question with or without an image."""

    name: str
    question: str
    image: Image.Image | None


def default_cases() -> list[Case]:
    """Return cases with a wide, a tall and a square image, and one without an image.

    The shapes differ so that a wrongly kept aspect ratio shows.
    """
    return [
        Case("wide", "What is in the image?", _scene(480, 160)),
        Case("tall", "What colour is the circle?", _scene(150, 450)),
        Case("square", "How many shapes are there?", _scene(300, 300)),
        Case("text", "What is an image?", None),
    ]


def cases_from_images(images: list[Path], question: str) -> list[Case]:
    """Return a case with this question for each image file. Raise UserError for other files."""
    return [Case(path.name, question, _open(path)) for path in images]


def _open(path: Path) -> Image.Image:
    try:
        return decode_rgb(path.read_bytes())
    except (OSError, NoImage) as error:
        raise UserError(path, f"is not an image ({error})", "give a PNG or JPEG file") from error


def _scene(width: int, height: int) -> Image.Image:
    """Draw a gradient, a circle, a box and a triangle, so that no two parts are alike."""
    slope = Image.linear_gradient("L").resize((width, height)).rotate(20, fillcolor=90)
    image = Image.merge("RGB", (slope, slope.point(lambda v: 255 - v), slope.rotate(90)))
    pen = ImageDraw.Draw(image)
    w, h = width / 12, height / 12
    pen.ellipse((w, h, 5 * w, 5 * h), fill=(220, 30, 40))
    pen.rectangle((7 * w, 2 * h, 11 * w, 6 * h), fill=(30, 60, 200), outline=(250, 250, 250))
    pen.polygon([(3 * w, 11 * h), (6 * w, 7 * h), (9 * w, 11 * h)], fill=(20, 160, 70))
    return image
