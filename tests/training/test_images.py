"""Preprocessing of images: equal to transformers' own."""

from io import BytesIO

import numpy as np
import pytest
from conftest import photo
from PIL import Image

from imp_data.training.data.images import Preprocessing, preprocess


@pytest.mark.parametrize("size", [(640, 480), (37, 91), (384, 384), (1, 1)])
@pytest.mark.parametrize("side", [196, 384])
def test_square_preprocessing_equals_siglips_processor(size: tuple[int, int], side: int) -> None:
    siglip = pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip")
    processor = siglip.SiglipImageProcessorPil(
        size={"height": side, "width": side}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    image = photo(1, size)
    expected = np.asarray(processor(image)["pixel_values"][0])
    found = preprocess(image, side, "square")
    assert found.dtype == np.float32 and found.shape == (3, side, side)
    assert np.abs(found - expected).max() < 1e-6


def strip(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, "white")


@pytest.mark.parametrize(("size", "white"), [((4, 2), (1, 3, 0, 4)), ((2, 4), (0, 4, 1, 3))])
def test_pad_preprocessing_centres_the_image_on_grey(
    size: tuple[int, int], white: tuple[int, int, int, int]
) -> None:
    found = preprocess(strip(size), 4, "pad")
    top, bottom, left, right = white
    expected = np.full((3, 4, 4), 127 / 127.5 - 1, np.float32)
    expected[:, top:bottom, left:right] = 1
    assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("how", ["square", "pad"])
def test_pixel_values_range_from_minus_one_to_one(how: Preprocessing) -> None:
    image = Image.new("RGB", (2, 2))
    image.putpixel((0, 0), (255, 0, 255))
    found = preprocess(image, 2, how)
    assert found[:, 0, 0].tolist() == [1, -1, 1]
    assert found[:, 1, 1].tolist() == [-1, -1, -1]


def test_exif_orientation_is_ignored() -> None:
    """Boxes in answers refer to the image as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    out = BytesIO()
    photo(2, (60, 40)).save(out, "PNG", exif=exif)
    turned = Image.open(out)
    assert turned.getexif()[0x0112] == 6
    assert (preprocess(turned, 32, "square") == preprocess(photo(2, (60, 40)), 32, "square")).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = photo(3, (20, 20)).convert(mode)
    expected = preprocess(image.convert("RGB"), 20, "square")
    assert (preprocess(image, 20, "square") == expected).all()
