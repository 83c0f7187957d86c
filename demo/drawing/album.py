"""Drawn images with their facts, each seeded by its own name, encoded once and cached."""

import io
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from PIL import Image

from demo.drawing.charts import draw_bar_chart, draw_statista_chart
from demo.drawing.diagrams import draw_diagram
from demo.drawing.pages import draw_cover, draw_infographic, draw_page
from demo.drawing.scenes import draw_scene

Facts = TypeVar("Facts", covariant=True)
Name = str | int
# The cache stores facts without pixels: an encoded file takes a tenth of their memory.
_NO_PIXELS: Final = Image.new("RGB", (1, 1))
_cached: list[Any] = []


class DrawnImage(NamedTuple, Generic[Facts]):
    """The facts of an image, its encoded file, and its width and height in pixels."""

    facts: Facts
    data: bytes
    size: tuple[int, int]


class _Drawer(Protocol[Facts]):
    def __call__(self, *name: Name, form: str = ...) -> DrawnImage[Facts]: ...


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


def _drawer(kind: str, draw: Callable[[random.Random], Facts], form: str) -> _Drawer[Facts]:
    """Return a cached function from an image's name to the image, encoded in `form`."""

    @cache
    def drawn_image(*name: Name, form: str = form) -> DrawnImage[Facts]:
        facts: Any = draw(seeded(kind, *name))
        data = encoded(facts.image, form)
        return DrawnImage(replace(facts, image=_NO_PIXELS), data, facts.image.size)

    _cached.append(drawn_image)
    return drawn_image


scene = _drawer("scene", draw_scene, "JPEG")
cover = _drawer("cover", draw_cover, "JPEG")
page = _drawer("page", draw_page, "PNG")
infographic = _drawer("infographic", draw_infographic, "JPEG")
bar_chart = _drawer("bar chart", draw_bar_chart, "PNG")
statista_chart = _drawer("statista chart", draw_statista_chart, "PNG")
diagram = _drawer("diagram", draw_diagram, "PNG")
lettered_diagram = _drawer("diagram", partial(draw_diagram, lettered=True), "PNG")


def clear_cache() -> None:
    """Release every cached image."""
    for drawn_image in _cached:
        drawn_image.cache_clear()
