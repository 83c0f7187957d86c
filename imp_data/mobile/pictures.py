"""Pictures as the model was trained on them: squared before llama.cpp sees them, on every path."""

from io import BytesIO

from PIL import Image

from imp_data.errors import UserError

# The canvas of "pad": LLaVA's mean pixel of CLIP, rounded as Imp rounds it for SigLIP.
_CANVAS = (127, 127, 127)


def squared(picture: Image.Image, size: int, preprocessing: str = "square") -> Image.Image:
    """The picture as size x size pixels of RGB, bicubic: squeezed, or padded to a square first.

    llama.cpp keeps a picture's aspect and pads it with another colour than the model has seen; of a
    square of the right size it changes nothing.
    """
    picture = picture.convert("RGB")
    if preprocessing == "pad":
        side = max(picture.size)
        canvas = Image.new("RGB", (side, side), _CANVAS)
        canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = canvas
    elif preprocessing != "square":
        problem = f"preprocessing {preprocessing!r} is unknown"
        raise UserError("imp.json", problem, "state square or pad")
    if picture.size == (size, size):
        return picture
    return picture.resize((size, size), Image.Resampling.BICUBIC)


def png(picture: Image.Image) -> bytes:
    """A lossless file of the picture; the same pixels give the same bytes."""
    out = BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()
