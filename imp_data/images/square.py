"""Images as squares of RGB, as models take them."""

from PIL import Image

from imp_data.images.rgb import rgb

# The canvas of "pad": LLaVA's mean pixel of CLIP, rounded as Imp rounds it for SigLIP.
GREY = (127, 127, 127)


def squared(image: Image.Image, size: int, preprocessing: str) -> Image.Image:
    """size x size pixels of RGB, bicubic: `square` squeezes, `pad` sets it on a grey square first.

    As Imp's own (image_processing_imp.py, train.py's expand2square), EXIF's orientation is
    disregarded. Raises ValueError for any other preprocessing.
    """
    if preprocessing not in {"square", "pad"}:
        raise ValueError(f"preprocessing {preprocessing!r} is unknown")
    colours = rgb(image)
    if preprocessing == "pad":
        colours = on_square(colours)
    if colours.size == (size, size):
        return colours
    return colours.resize((size, size), Image.Resampling.BICUBIC)


def on_square(image: Image.Image) -> Image.Image:
    """The RGB image in the middle of a grey square whose side is its longer one."""
    width, height = image.size
    side = max(width, height)
    canvas = Image.new("RGB", (side, side), GREY)
    canvas.paste(image, ((side - width) // 2, (side - height) // 2))
    return canvas
