"""Padding by strips equals padding by the whole canvas, which is never allocated."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imp_data.images.rgb import rgb
from imp_data.images.square import GREY, resize_to_square

SIDES = st.integers(1, 600)


def noise(width: int, height: int, bands: int) -> Image.Image:
    drawn = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(drawn.integers(0, 256, (height, width, bands), np.uint8))


def on_a_canvas(image: Image.Image, size: int) -> Image.Image:
    side = max(image.size)
    canvas = Image.new("RGB", (side, side), GREY)
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas.resize((size, size), Image.Resampling.BICUBIC)


@given(width=SIDES, height=SIDES, size=st.sampled_from([1, 14, 196, 384]))
def test_padding_in_rows_makes_the_pixels_of_the_whole_canvas(
    width: int, height: int, size: int
) -> None:
    image = noise(width, height, 3)
    assert resize_to_square(image, size, "pad").tobytes() == on_a_canvas(image, size).tobytes()


def test_the_canvas_of_a_line_is_never_allocated() -> None:
    line = Image.new("RGB", (60_000, 1), "white")  # on a canvas of 3.6 gigapixels
    assert resize_to_square(line, 14, "pad").getextrema() == ((127, 127),) * 3


@given(width=SIDES, height=SIDES)
def test_compositing_in_rows_makes_the_pixels_of_the_whole_image(width: int, height: int) -> None:
    image = noise(width, height, 4)
    white = Image.new("RGBA", image.size, "white")
    expected = Image.alpha_composite(white, image).convert("RGB")
    assert rgb(image).tobytes() == expected.tobytes()
