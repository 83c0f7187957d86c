"""Change an RGB image as copies on the web are changed: crops, frames, tone, noise, turns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageOps

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def scale(image: Image.Image, factor: float, factor_y: float | None = None) -> Image.Image:
    """Scale the width by `factor`, and the height by `factor_y` if it is stated."""
    factors = (factor, factor if factor_y is None else factor_y)
    width, height = (max(round(n * f), 1) for n, f in zip(image.size, factors, strict=True))
    return image.resize((width, height), Image.Resampling.BICUBIC)


def squeeze(image: Image.Image) -> Image.Image:
    """Scale to a square of the shorter side."""
    side = min(image.size)
    return image.resize((side, side), Image.Resampling.BICUBIC)


def crop(image: Image.Image, share: float) -> Image.Image:
    """Remove `share` of the width and of the height, equally from both edges."""
    width, height = image.size
    across, down = round(width * share / 2), round(height * share / 2)
    return image.crop((across, down, width - across, height - down))


def crop_to_area(
    image: Image.Image, area: float, generator: np.random.Generator | None = None
) -> Image.Image:
    """Keep this share of the area, in the image's shape: where chance says, or the centre."""
    sides = [max(round(side * area**0.5), 1) for side in image.size]
    spare = [whole - side for whole, side in zip(image.size, sides, strict=True)]
    left, top = (n // 2 if generator is None else int(generator.integers(0, n + 1)) for n in spare)
    return image.crop((left, top, left + sides[0], top + sides[1]))


def crop_side(image: Image.Image, share: float, generator: np.random.Generator) -> Image.Image:
    """Cut `share` of the width or of the height off one of the four sides."""
    width, height = image.size
    box = [0, 0, width, height]
    side = int(generator.integers(0, 4))
    cut = min(round((width, height)[side % 2] * share), (width, height)[side % 2] - 1)
    box[side] += -cut if side >= 2 else cut
    return image.crop((box[0], box[1], box[2], box[3]))


def curve(image: Image.Image, gamma: float) -> Image.Image:
    table = [round(255 * (value / 255) ** gamma) for value in range(256)]
    return image.point(table * 3)


def tint(image: Image.Image, gains: tuple[float, float, float]) -> Image.Image:
    """Multiply red, green and blue: another white balance."""
    return image.point([min(round(value * gain), 255) for gain in gains for value in range(256)])


def sepia(image: Image.Image) -> Image.Image:
    return ImageOps.colorize(ImageOps.grayscale(image), "#1e1208", "#ffefd0")


def vignette(image: Image.Image, share: float) -> Image.Image:
    """Darken towards the corners, which keep `1 - share` of their light."""
    width, height = image.size
    across, down = (((np.arange(n) * 2 + 1) / n - 1) ** 2 for n in (width, height))
    light = 1 - share * (down[:, None] + across[None, :]) / 2
    return _from_levels(_levels(image) * light[:, :, None])


def add_noise(image: Image.Image, levels: float, generator: np.random.Generator) -> Image.Image:
    """Add grey noise of this standard deviation, the sum of four dice of 256 sides.

    Integers alone, so that every processor draws the same noise.
    """
    width, height = image.size
    dice = generator.integers(0, 256, (4, height, width), np.uint8)
    deviation = (4 * (256**2 - 1) / 12) ** 0.5
    noise = (dice.sum(axis=0, dtype=np.int16) - 510) * (levels / deviation)
    return _from_levels(_levels(image) + noise[:, :, None])


def add_specks(image: Image.Image, share: float, generator: np.random.Generator) -> Image.Image:
    """Make this share of the pixels black or white."""
    width, height = image.size
    dice = generator.integers(0, 1 << 16, (height, width), np.uint16)
    limit = round(share * (1 << 15))
    levels = _levels(image)
    levels[dice < limit] = 0
    levels[(dice >= limit) & (dice < 2 * limit)] = 255
    return _from_levels(levels)


def add_border(image: Image.Image, share: float, colour: str) -> Image.Image:
    """Add a frame as wide as `share` of the shorter side."""
    return ImageOps.expand(image, max(round(min(image.size) * share), 1), colour)


def pad_to(image: Image.Image, ratio: float, colour: str) -> Image.Image:
    """Add two bars so that width to height is `ratio`: a letterbox, or a square."""
    width, height = image.size
    size = (max(round(height * ratio), width), max(round(width / ratio), height))
    return place_on(image, size, ((size[0] - width) // 2, (size[1] - height) // 2), colour)


def pad_side(image: Image.Image, share: float, colour: str) -> Image.Image:
    """Add a margin of `share` of each side's length to the right and below."""
    width, height = image.size
    size = (width + max(round(width * share), 1), height + max(round(height * share), 1))
    return place_on(image, size, (0, 0), colour)


def round_corners(image: Image.Image, share: float) -> Image.Image:
    """Make the corners white, with a radius of `share` of the shorter side."""
    mask = Image.new("L", image.size)
    radius = round(min(image.size) * share)
    box = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius, 255)
    return Image.composite(image, Image.new("RGB", image.size, "white"), mask)


def turn(image: Image.Image, how: Image.Transpose) -> Image.Image:
    return image.transpose(how)


def tilt(image: Image.Image, degrees: float) -> Image.Image:
    """Rotate within the same frame; the corners become black."""
    return image.rotate(degrees, Image.Resampling.BICUBIC)


def straighten(image: Image.Image, degrees: float) -> Image.Image:
    """Rotate, and crop the black corners off: the largest rectangle of the image's shape."""
    width, height = image.size
    angle = np.deg2rad(abs(degrees))
    ratio = max(width / height, height / width)
    kept = 1 / (np.cos(angle) + ratio * np.sin(angle))
    turned = tilt(image, degrees)
    wide, high = max(int(width * kept), 1), max(int(height * kept), 1)
    left, top = (width - wide) // 2, (height - high) // 2
    return turned.crop((left, top, left + wide, top + high))


def lean(image: Image.Image, share: float) -> Image.Image:
    """Photograph from the left: the right edge is shorter by `share` at both of its ends."""
    width, height = image.size
    cut = height * share
    corners = (0, 0, 0, height, width, height + cut, width, -cut)
    return image.transform(image.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)


def photograph_screen(image: Image.Image, levels: float) -> Image.Image:
    """Add moiré: slanted stripes of this amplitude, other ones in each colour."""
    width, height = image.size
    across, down = np.arange(width)[None, :], np.arange(height)[:, None]
    levels_of = _levels(image)
    for band, period in enumerate((9, 11, 13)):
        phase = (2 * across + (band + 1) * down) % (2 * period)
        levels_of[:, :, band] += (np.abs(phase - period) * 2 / period - 1) * levels
    return _from_levels(levels_of)


def collage(image: Image.Image) -> Image.Image:
    """Show the image as the left half of two, beside an even one with a disc."""
    width, height = image.size
    copy = place_on(image, (2 * width, height), (0, 0), "#335c67")
    reach = min(width, height) // 3
    middle = (width + width // 2, height // 2)
    box = (middle[0] - reach, middle[1] - reach, middle[0] + reach, middle[1] + reach)
    ImageDraw.Draw(copy).ellipse(box, "#e09f3e")
    return copy


def negative(image: Image.Image) -> Image.Image:
    return ImageChops.invert(image)


def place_on(
    image: Image.Image,
    size: tuple[int, int],
    place: tuple[int, int],
    colour: str | tuple[int, int, int],
) -> Image.Image:
    """Paste the image on an even canvas of this size."""
    canvas = Image.new("RGB", size, colour)
    canvas.paste(image, place)
    return canvas


def _levels(image: Image.Image) -> npt.NDArray[np.float32]:
    return np.asarray(image, np.float32).copy()


def _from_levels(levels: npt.NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))
