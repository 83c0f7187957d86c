"""Images with their facts: each drawn from the seed of its own name, encoded once."""

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
# Facts are kept without their image: in memory its file is a tenth of its pixels.
_NOTHING: Final = Image.new("RGB", (1, 1))


class DrawnImage(NamedTuple, Generic[Facts]):
    """What is in an image, its file, and its width and height in pixels."""

    facts: Facts
    data: bytes
    size: tuple[int, int]


def seeded(*name: Name) -> random.Random:
    """Chance that depends on a name alone, so that no record's drawing depends on another's."""
    return random.Random("/".join(map(str, name)))


def number(low: int, high: int, *name: Name) -> int:
    """A whole number in [low, high) that belongs to a name."""
    return low + int(hexadecimal(16, *name), 16) % (high - low)


def hexadecimal(digits: int, *name: Name) -> str:
    """Hexadecimal digits that belong to a name."""
    return sha256("/".join(map(str, name)).encode()).hexdigest()[:digits]


def encoded(image: Image.Image, form: str = "JPEG", **options: int | bytes) -> bytes:
    """The image as a file: JPEG (quality 85), PNG, WEBP or GIF."""
    settings = {"JPEG": {"quality": 85}, "PNG": {"compress_level": 1}, "WEBP": {"method": 0}}
    out = io.BytesIO()
    image.save(out, form, **{**settings.get(form, {}), **options})
    return out.getvalue()


def open_image(data: bytes) -> Image.Image:
    """The image in a file."""
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


def forget() -> None:
    """Drop every image that is remembered."""
    for remembered in (*(scene, cover, page, infographic, bar_chart, statista_chart, diagram),):
        remembered.cache_clear()
