"""Drawn images with their facts, each seeded by its own name, encoded once and cached."""

import io
import random
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Final, Generic, NamedTuple, TypeVar

from PIL import Image

from demo.drawing.charts import BarChart, StatistaChart, draw_bar_chart, draw_statista_chart
from demo.drawing.diagrams import Diagram, draw_diagram
from demo.drawing.pages import Cover, Infographic, Page, draw_cover, draw_infographic, draw_page
from demo.drawing.scenes import Scene, draw_scene

Facts = TypeVar("Facts", covariant=True)
Name = str | int
# The cache stores facts without pixels: an encoded file takes a tenth of their memory.
_NOTHING: Final = Image.new("RGB", (1, 1))


class DrawnImage(NamedTuple, Generic[Facts]):
    """The facts of an image, its encoded file, and its width and height in pixels."""

    facts: Facts
    data: bytes
    size: tuple[int, int]


def seeded(*name: Name) -> random.Random:
    """Return a generator seeded by a name alone, so that no image depends on another."""
    return random.Random("/".join(map(str, name)))


def number(low: int, high: int, *name: Name) -> int:
    """Return an integer in [low, high) derived from a name."""
    return low + int(hexadecimal(16, *name), 16) % (high - low)


def hexadecimal(digits: int, *name: Name) -> str:
    """Return hexadecimal digits derived from a name."""
    return sha256("/".join(map(str, name)).encode()).hexdigest()[:digits]


def encoded(image: Image.Image, form: str = "JPEG", **options: int | bytes) -> bytes:
    """Encode an image as JPEG (quality 85), PNG, WEBP or GIF."""
    settings = {"JPEG": {"quality": 85}, "PNG": {"compress_level": 1}, "WEBP": {"method": 0}}
    out = io.BytesIO()
    image.save(out, form, **{**settings.get(form, {}), **options})
    return out.getvalue()


def open_image(data: bytes) -> Image.Image:
    """Decode an image file."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@cache
def scene(*name: Name, form: str = "JPEG") -> DrawnImage[Scene]:
    drawn = draw_scene(seeded("scene", *name))
    return DrawnImage(replace(drawn, image=_NOTHING), encoded(drawn.image, form), drawn.image.size)


@cache
def cover(*name: Name, form: str = "JPEG") -> DrawnImage[Cover]:
    drawn = draw_cover(seeded("cover", *name))
    return DrawnImage(replace(drawn, image=_NOTHING), encoded(drawn.image, form), drawn.image.size)


@cache
def page(*name: Name, form: str = "PNG") -> DrawnImage[Page]:
    drawn = draw_page(seeded("page", *name))
    return DrawnImage(replace(drawn, image=_NOTHING), encoded(drawn.image, form), drawn.image.size)


@cache
def infographic(*name: Name, form: str = "JPEG") -> DrawnImage[Infographic]:
    drawn = draw_infographic(seeded("infographic", *name))
    return DrawnImage(replace(drawn, image=_NOTHING), encoded(drawn.image, form), drawn.image.size)


@cache
def bar_chart(*name: Name, form: str = "PNG") -> DrawnImage[BarChart]:
    drawn = draw_bar_chart(seeded("bar chart", *name))
    return DrawnImage(replace(drawn, image=_NOTHING), encoded(drawn.image, form), drawn.image.size)


@cache
def statista_chart(*name: Name, form: str = "PNG") -> DrawnImage[StatistaChart]:
    drawn = draw_statista_chart(seeded("statista chart", *name))
    return DrawnImage(replace(drawn, image=_NOTHING), encoded(drawn.image, form), drawn.image.size)


@cache
def diagram(*name: Name, form: str = "PNG") -> tuple[DrawnImage[Diagram], bytes]:
    """A diagram, and its lettered form as a file."""
    drawn = draw_diagram(seeded("diagram", *name))
    facts = replace(drawn, image=_NOTHING, lettered=_NOTHING)
    plain = DrawnImage(facts, encoded(drawn.image, form), drawn.image.size)
    return plain, encoded(drawn.lettered, form)


def clear_cache() -> None:
    """Release every cached image."""
    for cached in (*(scene, cover, page, infographic, bar_chart, statista_chart, diagram),):
        cached.cache_clear()
