"""Draw photographs: objects that hide each other, light from one side, texture of all scales."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

SIZES = ((640, 480), (640, 427), (500, 375), (480, 640), (768, 512))
_LEAVES = 90
_TEXTURES = 8


def draw_photo(seed: int, size: tuple[int, int] | None = None, frame: int = 0) -> Image.Image:
    """Draw a scene of objects that hide each other, with a texture and light from one side.

    Sizes of objects fall by a power law, as in photographs ("dead leaves", Lee, Mumford and Huang
    2001). Another `frame` of the scene is taken a moment later: the camera has moved by at most
    3 % and three of the objects by at most 12 %. All is drawn with whole numbers.
    """
    generator = np.random.default_rng(seed)
    width, height = size or SIZES[seed % len(SIZES)]
    image = Image.new("RGB", (width, height), _colour(generator))
    draw = ImageDraw.Draw(image)
    moving = {int(n) for n in generator.integers(_LEAVES // 2, _LEAVES, 3)}
    camera = _shift(seed, frame, -1, 3)
    for leaf in range(_LEAVES):
        shape, place, reach, colour = _leaf(generator)
        x, y = (p + shift for p, shift in zip(place, camera, strict=True))
        if leaf in moving:
            x, y = (p + s for p, s in zip((x, y), _shift(seed, frame, leaf, 12), strict=True))
        _draw_leaf(draw, shape, (x * width // 1000, y * height // 1000), reach * width, colour)
    return _textured(image.filter(ImageFilter.GaussianBlur(1)), generator)


def _colour(generator: np.random.Generator) -> tuple[int, int, int]:
    grey = int(generator.integers(20, 236))
    red, green, blue = (int(n) for n in generator.integers(-50, 51, 3) + grey)
    return min(max(red, 0), 255), min(max(green, 0), 255), min(max(blue, 0), 255)


def _leaf(
    generator: np.random.Generator,
) -> tuple[int, tuple[int, int], int, tuple[int, int, int]]:
    """Return shape, place in thousandths of the frame, reach in thousandths of its width."""
    shape = int(generator.integers(0, 3))
    place = int(generator.integers(0, 1001)), int(generator.integers(0, 1001))
    # 1 / uniform has the power law; integers are the same on every processor.
    reach = min(20_000 // int(generator.integers(60, 1001)), 330)
    return shape, place, reach, _colour(generator)


def _shift(seed: int, frame: int, leaf: int, percent: int) -> tuple[int, int]:
    if not frame:
        return 0, 0
    generator = np.random.default_rng((seed, frame, leaf + 1))
    across, down = generator.integers(-10 * percent, 10 * percent + 1, 2)
    return int(across), int(down)


def _draw_leaf(
    draw: ImageDraw.ImageDraw,
    shape: int,
    middle: tuple[int, int],
    reach: int,
    colour: tuple[int, int, int],
) -> None:
    x, y = middle
    half = max(reach // 1000, 2)
    if shape == 0:
        draw.ellipse((x - half, y - half * 2 // 3, x + half, y + half * 2 // 3), colour)
    elif shape == 1:
        draw.rectangle((x - half // 2, y - half, x + half // 2, y + half), colour)
    else:
        draw.polygon(((x - half, y + half), (x + half, y + half // 2), (x, y - half)), colour)


def _textured(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    width, height = image.size
    texture = _texture(int(generator.integers(0, _TEXTURES)), width, height)
    slope = int(generator.integers(-40, 41))
    light = slope * np.arange(width, dtype=np.int16)[None, :] // width
    levels = np.asarray(image, np.int16) + texture[:, :, None] + light[:, :, None]
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@lru_cache(maxsize=64)
def _texture(seed: int, width: int, height: int) -> npt.NDArray[np.int16]:
    """Return noise of four scales, int16[height, width], of about 12 levels."""
    generator = np.random.default_rng(seed)
    field = np.zeros((height, width), np.int16)
    for step, levels in ((64, 14), (16, 9), (4, 6), (1, 4)):
        coarse = generator.integers(0, 256, (height // step + 2, width // step + 2), np.uint8)
        layer = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        field += (np.asarray(layer, np.int16) - 128) * levels // 128
    return field
