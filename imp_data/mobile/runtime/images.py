"""Preprocess images as in training before llama.cpp receives them, on every path."""

from io import BytesIO

from PIL import Image

from imp_data.errors import UserError
from imp_data.images import square


def square_image(image: Image.Image, size: int, preprocessing: str = "square") -> Image.Image:
    """Resize the image to size x size RGB pixels, bicubic: squeezed, or first padded to a square.

    llama.cpp itself keeps the aspect ratio and pads with another colour than in training; it leaves
    a square of the right size unchanged.
    """
    try:
        return square.resize_to_square(image, size, preprocessing)
    except ValueError as error:
        raise UserError("imp.json", str(error), "set preprocessing to square or pad") from None


def encode_png(image: Image.Image) -> bytes:
    """Encode the image losslessly; equal pixels give equal bytes."""
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
