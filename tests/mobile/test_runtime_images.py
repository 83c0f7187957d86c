"""Images are preprocessed as in training."""

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

from PIL import Image

from imp_data.mobile.runtime.images import square_image


def test_a_square_of_the_right_size_is_unchanged() -> None:
    image = Image.effect_noise((56, 56), 90).convert("RGB")
    assert square_image(image, 56) is not None
    assert square_image(image, 56).tobytes() == image.tobytes()


def test_square_squeezes_and_pad_adds_grey() -> None:
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    assert square_image(image, 20).getpixel((10, 0)) == (255, 0, 0)
    assert square_image(image, 20, "pad").getpixel((10, 0)) == (127, 127, 127)
