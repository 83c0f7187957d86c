"""Fonts, named colours, plain words and uneven light that the demo's images share."""

import random
from functools import cache
from typing import Final

import numpy as np
from PIL import Image, ImageFont

RGB = tuple[int, int, int]
Box = tuple[int, int, int, int]

COLOURS: Final[dict[str, RGB]] = {
    "red": (205, 32, 36),
    "orange": (242, 128, 18),
    "yellow": (246, 212, 40),
    "green": (36, 148, 62),
    "blue": (32, 88, 205),
    "purple": (126, 46, 165),
    "pink": (247, 138, 188),
    "white": (246, 246, 242),
    "black": (28, 28, 31),
}
WHITE: Final = COLOURS["white"]
BLACK: Final = COLOURS["black"]

_PLAIN_WORDS = """
acorn almond anchor apron atlas badge bakery bamboo barley basil beacon bell birch blanket bottle
brass breeze bridge brook bubble butter cabin camel candle canoe canyon caramel carrot cedar chalk
cheese chestnut citrus clock clover cobalt coconut compass coral cotton crayon creek crown daisy
desert dinner domino dragon drum earth elbow ember engine falcon farmer fern fiddle flame forest fox
friend galaxy garlic glacier goat grain grape guitar harbor hazel hill honey horse house ivory
jacket jelly journey juniper kitchen ladder lantern lavender lemon lighthouse linen lizard lotus
magnet maple market melody metal mill mirror monkey mosaic museum napkin needle noodle nutmeg oasis
ocean onion orchard otter owl paddle panda parade parsley peanut pebble pencil pepper picnic pillow
planet plum pond poppy prairie puzzle quartz raccoon rainbow ribbon robin rose saddle sailor sandal
season shell shop sister snow soup sparrow spoon spruce stable stone story summer swan table temple
thunder tiger toast tower train treasure tunnel umbrella vanilla village violin walnut water wheat
window wolf wood zebra
"""
WORDS: Final = tuple(_PLAIN_WORDS.split())
NUMBER_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six")


@cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    loaded = ImageFont.load_default(size_px)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow is built without FreeType, which the demo needs to draw text")
    return loaded


def fitting_font(text: str, width_px: float, largest_px: int) -> ImageFont.FreeTypeFont:
    """Return the largest font, at most `largest_px`, in which `text` fits into `width_px`."""
    wanted = font(largest_px)
    length = wanted.getlength(text)
    return wanted if length <= width_px else font(max(8, int(largest_px * width_px / length)))


def wrapped(text: str, face: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    """Break text into lines no wider than `width_px`."""
    lines: list[str] = []
    for word in text.split():
        if lines and face.getlength(f"{lines[-1]} {word}") <= width_px:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def counted(number: int, noun: str) -> str:
    """Return for example 'a red ball', 'an orange cup' or 'three red balls'."""
    if number == 1:
        return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    return f"{NUMBER_WORDS[number]} {noun}s"


def listed(items: list[str]) -> str:
    """Return for example 'a, b and c'."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def mixed(first: RGB, second: RGB, share: float) -> RGB:
    """Return `first` with a `share` of `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def readable_on(background: RGB) -> RGB:
    """Return black or white, whichever contrasts more with the background."""
    red, green, blue = background
    return BLACK if 0.3 * red + 0.59 * green + 0.11 * blue > 140 else WHITE


def unevenly_lit(rng: random.Random, image: Image.Image, strength: float = 1.0) -> Image.Image:
    """Multiply an image by smooth noise, so that its perceptual hash is like no other image's."""
    noise = np.random.default_rng(rng.getrandbits(64))
    field = np.zeros((image.height, image.width, 1), dtype=np.float32)
    for cells, share in ((4, 0.42), (8, 0.36)):
        coarse = Image.fromarray(noise.random((cells, cells), dtype=np.float32) * 2 - 1)
        smooth = coarse.resize(image.size, Image.Resampling.BICUBIC)
        field += np.float32(share * strength) * np.asarray(smooth)[:, :, None]
    pixels = np.asarray(image, dtype=np.float32) * np.exp(field)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
