"""Resize images to the RGB squares that models take."""

from PIL import Image

from imp_data.images.rgb import rgb

# The canvas of "pad": LLaVA's mean pixel of CLIP, rounded as Imp rounds it for SigLIP.
GREY = (127, 127, 127)
_ROWS_AT_ONCE = 256


def resize_to_square(image: Image.Image, size: int, preprocessing: str) -> Image.Image:
    """Resize to size x size RGB pixels, bicubic: `square` distorts, `pad` adds a grey border.

    As Imp's own code (image_processing_imp.py, train.py's expand2square), it ignores the EXIF
    orientation. Raise ValueError for any other preprocessing.
    """
    if preprocessing not in {"square", "pad"}:
        raise ValueError(f"preprocessing {preprocessing!r} is unknown")
    colours = rgb(image)
    if preprocessing == "pad" and colours.width != colours.height:
        return _padded(colours, size)
    if colours.size == (size, size):
        return colours
    return colours.resize((size, size), Image.Resampling.BICUBIC)


def _padded(image: Image.Image, size: int) -> Image.Image:
    """Center the RGB image in a grey square of its longer side, and resize the square.

    The square is never allocated: an image of 60,000 x 1 would need 3.6 gigapixels. Pillow resizes
    rows, then columns, so processing some rows at a time gives the same pixels.
    """
    side = max(image.size)
    left, above = (side - image.width) // 2, (side - image.height) // 2
    narrow = Image.new("RGB", (size, side), GREY)
    for top in range(0, image.height, _ROWS_AT_ONCE):
        rows = image.crop((0, top, image.width, min(top + _ROWS_AT_ONCE, image.height)))
        wide = Image.new("RGB", (side, rows.height), GREY)
        wide.paste(rows, (left, 0))
        narrow.paste(_narrowed(wide, size), (0, above + top))
    return narrow.resize((size, size), Image.Resampling.BICUBIC)


def _narrowed(rows: Image.Image, size: int) -> Image.Image:
    return rows.resize((size, rows.height), Image.Resampling.BICUBIC)
