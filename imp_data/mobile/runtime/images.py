"""Images as the model was trained on them: squared before llama.cpp sees them, on every path."""

from io import BytesIO

from PIL import Image

from imp_data.errors import UserError
from imp_data.images import square


def square_image(image: Image.Image, size: int, preprocessing: str = "square") -> Image.Image:
    """The image as size x size pixels of RGB, bicubic: squeezed, or padded to a square first.

    llama.cpp keeps an image's aspect and pads it with another colour than the model has seen; of a
    square of the right size it changes nothing.
    """
    try:
        return square.squared(image, size, preprocessing)
    except ValueError as error:
        raise UserError("imp.json", str(error), "state square or pad") from None


def encode_png(image: Image.Image) -> bytes:
    """A lossless file of the image; the same pixels give the same bytes."""
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
