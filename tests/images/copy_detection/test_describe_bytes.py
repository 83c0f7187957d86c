"""The image in a file is described alike in all formats, at any scale of the decoder."""

import pytest
from conftest import encoded
from scenes import scene

from imp_data.images.copy_detection.describe_bytes import describe_bytes
from imp_data.images.copy_detection.features import describe_image
from imp_data.images.copy_detection.index import CopyIndex
from imp_data.images.decode_errors import NoImage, TooManyPixels

IMAGE = scene(21, (1000, 750))


def test_a_lossless_file_has_the_features_of_its_image() -> None:
    features = describe_bytes(encoded(IMAGE, "PNG"))
    assert features == describe_image(IMAGE)
    assert describe_bytes(encoded(IMAGE, "BMP")) == features


def test_a_jpeg_is_decoded_at_a_reduced_scale_and_is_a_copy_of_its_image() -> None:
    match = CopyIndex.build(["image"], [describe_image(IMAGE)]).match(
        [describe_bytes(encoded(IMAGE, "JPEG", quality=90))]
    )[0]
    assert match is not None
    assert (match.verdict, match.distance_bits <= 4, match.score >= 0.95) == ("copy", True, True)


def test_transparency_is_composited_on_white() -> None:
    clear = IMAGE.convert("RGBA")
    clear.putalpha(0)
    assert describe_bytes(encoded(clear, "PNG")).deviation == 0


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"no image", NoImage),
        (encoded(IMAGE, "JPEG")[:-5000], NoImage),
        (encoded(IMAGE, "PNG")[:-5000], NoImage),
    ],
    ids=["text", "cut JPEG", "cut PNG"],
)
def test_what_does_not_decode_is_an_error(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        describe_bytes(data)


def test_an_image_of_too_many_pixels_is_not_decoded() -> None:
    with pytest.raises(TooManyPixels, match="1000x750 is more than 700000 pixels"):
        describe_bytes(encoded(IMAGE, "PNG"), 700_000)
