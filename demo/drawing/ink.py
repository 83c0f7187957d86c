"""Fonts, named colours, plain words and noise that the demo's images share."""

import random
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFont

RGB = tuple[int, int, int]
Box = tuple[int, int, int, int]
Pixels = NDArray[np.float32]

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
acorn adventure almond amber anchor apple apron arrow atlas autumn badge bagel bakery balcony bamboo
banner barley barn basil basket beacon beaver bell berry birch biscuit blanket blossom bottle branch
brass bread breeze brick bridge bronze brook brush bubble bucket butter button cabin cactus camel
camera candle candy canoe canvas canyon captain caramel carpet carrot castle cedar cello chalk charm
cheese cherry chestnut circle citrus clay clock cloud clover coast cobalt cocoa coconut comet
compass copper coral corner cotton cousin crayon cream creek cricket crown crystal daisy dancer
desert diamond dinner dolphin domino donkey dragon dream drum eagle earth echo elbow elm ember
emerald engine evening falcon family farmer feather fern ferry fiddle finch flame flute forest
fountain fox freedom friend frost galaxy garden garlic ginger glacier glove goat gold grain granite
grape gravel guitar hammer harbor harvest hazel heron hill holly honey horizon horse hotel house
island ivory ivy jacket jasmine jelly jewel journey jungle juniper kettle kitchen kitten ladder
lagoon lantern laurel lavender leaf lemon library lighthouse lily linen lion lizard lobster lotus
lumber magnet mango maple marble market meadow melody melon metal midnight mill mint mirror mitten
monkey morning mosaic mountain museum music napkin nectar needle nickel noodle north nutmeg oak
oasis oat ocean olive onion orbit orchard orchid otter oven owl oyster paddle palace panda paper
parade parrot parsley peach peanut pearl pebble pelican pencil penguin pepper piano picnic pigeon
pillow pine planet plaza plum pocket pond pony poppy potato prairie pumpkin puzzle quarry quartz
rabbit raccoon radio rainbow raven ribbon river robin rocket rose ruby saddle saffron sailor salmon
sandal school season shadow shell shelter shop silver sister smile snow soap soup south sparrow
spice spoon spring spruce squirrel stable station stone storm story sugar summer sunrise swan
sweater table teapot temple theater thunder ticket tiger timber toast tomato tower trail train
travel treasure tulip tunnel turtle umbrella valley vanilla velvet village violet violin wagon
walnut walrus water whale wheat willow window winter wolf wonder wood yarn zebra zipper
"""
WORDS: Final = tuple(_PLAIN_WORDS.split())
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    loaded = ImageFont.load_default(size_px)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which the demo's text needs")
    return loaded


def fitting_font(text: str, width_px: float, largest_px: int) -> ImageFont.FreeTypeFont:
    """The largest font, at most `largest_px`, in which `text` is no wider than `width_px`."""
    wanted = font(largest_px)
    length = wanted.getlength(text)
    return wanted if length <= width_px else font(max(8, int(largest_px * width_px / length)))


def wrapped(text: str, face: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and face.getlength(f"{lines[-1]} {word}") <= width_px:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def counted(number: int, noun: str) -> str:
    """For example 'a red ball', 'an orange cup' or 'three red balls'."""
    if number == 1:
        return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    return f"{_NUMBERS[number]} {noun}s"


def listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def mixed(first: RGB, second: RGB, share: float) -> RGB:
    """`first` with a `share` of `second` stirred in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def readable_on(background: RGB) -> RGB:
    red, green, blue = background
    return BLACK if 0.3 * red + 0.59 * green + 0.11 * blue > 140 else WHITE


def generator(rng: random.Random) -> np.random.Generator:
    return np.random.default_rng(rng.getrandbits(64))


def stretched(coarse: Pixels, width_px: int, height_px: int) -> Pixels:
    """A coarse field resized smoothly."""
    rows, columns = coarse.shape
    lines, across = _weights(rows, height_px) @ coarse, _weights(columns, width_px).T
    field = np.empty((height_px, width_px), dtype=np.float32)
    # A few rows at a time, because a large product wakes numpy's threads and takes longer.
    for start in range(0, height_px, 8):
        np.matmul(lines[start : start + 8], across, out=field[start : start + 8])
    return field


@cache
def _weights(cells: int, size_px: int) -> Pixels:
    """The matrix that resizes a column of cells, many times quicker than resizing images."""
    each = Image.fromarray(np.eye(cells, dtype=np.float32))
    resized = each.resize((cells, size_px), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32)


def smooth_noise(
    noise: np.random.Generator, width_px: int, height_px: int, columns: int, rows: int
) -> Pixels:
    """A field of about -1 to 1 that wanders over `columns` by `rows` cells."""
    coarse = noise.random((rows, columns), dtype=np.float32) * 2 - 1
    return stretched(coarse, width_px, height_px)


def grained(image: Image.Image, noise: np.random.Generator, strength: int) -> Image.Image:
    """The image with sensor or paper grain, the same in all channels."""
    shape = (image.height, image.width)
    grain = Image.fromarray(noise.integers(0, 2 * strength + 1, shape, dtype=np.uint8))
    layers = [grain] * len(image.getbands())
    return ImageChops.add(image, Image.merge(image.mode, layers), offset=-strength)


def to_image(planes: Pixels) -> Image.Image:
    """An image from its red, green and blue planes."""
    whole = np.clip(planes, 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(plane) for plane in whole])
