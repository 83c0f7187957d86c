"""Images for copy detection: drawn scenes with structure at all scales, and drawn charts."""

import numpy as np
from PIL import Image, ImageDraw

_BICUBIC = Image.Resampling.BICUBIC


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Return an image as detailed as a photograph: noise of all scales, weaker at finer ones."""
    generator = np.random.default_rng(seed)
    width, height = size
    total = np.full((height, width), 128.0)
    for octave in range(6):
        columns = 2 ** (octave + 2)
        coarse = generator.normal(size=(max(columns * height // width, 2), columns))
        layer = Image.fromarray(coarse.astype(np.float32)).resize(size, _BICUBIC)
        total += np.asarray(layer) * (48 * 0.7**octave)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8)).convert("RGB")


def chart(values: list[int], size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Return a bar chart on white; the values are percentages of its height."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.line((20, 10, 20, height - 20, width - 10, height - 20), "black", 2)
    step = (width - 40) // len(values)
    for n, value in enumerate(values):
        left, top = 30 + n * step, height - 21 - value * (height - 40) // 100
        draw.rectangle((left, top, left + step // 2, height - 21), "#4c78a8")
        draw.text((left, height - 16), f"Q{n + 1}", "black")
    return image
