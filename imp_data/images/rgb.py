"""From an opened image of any mode to 8-bit RGB: the one way there, for hashes and for models.

This file needs Pillow and NumPy alone, because a copy of it lies in every saved model folder.
The rules, with their reasons in docs/formats.md:

* Transparency (an alpha band, or a PNG's or GIF's transparent colour) is composited on white.
* 16-bit grey keeps its high byte; so does the 32-bit grey that Pillow reads from a 16-bit PGM.
  A TIFF of more than 8 bits in which 0 is white is inverted, as Pillow does for 8 bits.
* Other 32-bit grey and floating point state no range: their own minimum becomes 0 and their own
  maximum 255. NaN becomes 0. An image of one value becomes black.
* Embedded ICC profiles and the EXIF orientation are not applied.
* LAB is converted by LittleCMS, all other modes by Pillow.
* An animation shows its first frame, the one that Pillow opens.
* Text in PNGs is skipped, up to 64 MiB of it; whoever opens the file calls `allow_text` first.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, PngImagePlugin

# A part of the decoder's name, so that hashes by another rule are not compared with these.
RGB_RULE = 2

# Some real images carry large text chunks, which Pillow refuses at 1 MiB.
_MAX_PNG_TEXT_BYTES = 64 << 20
_WHITE = (255, 255, 255, 255)
_PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO = 262, 0  # TIFF 6.0, section 3
# A float takes eight bytes, and a pixel on white twelve more than it has: some rows at a time.
_ROWS_AT_ONCE = 256


def allow_text() -> None:
    """Let Pillow open PNGs with up to 64 MiB of text, in all of this process."""
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = _MAX_PNG_TEXT_BYTES


def rgb(image: Image.Image) -> Image.Image:
    """The image in 8-bit RGB. An RGB image without transparency is returned itself, loaded.

    Raises whatever its decoder raises.
    """
    image.load()
    image = eight_bits(image)
    if has_transparency(image):
        return _on_white(image)
    if image.mode == "RGB":
        return image
    if image.mode == "LAB":
        return _from_lab(image)
    return image.convert("RGB")


def has_transparency(image: Image.Image) -> bool:
    """Whether some pixels may be transparent; `image` is loaded."""
    if image.mode in {"RGBA", "LA", "PA"}:
        lowest, _ = image.getchannel("A").getextrema()
        return lowest != 255
    if image.mode in {"RGBa", "La"}:
        return True
    palette = image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA"
    return palette or image.info.get("transparency") is not None


def eight_bits(image: Image.Image) -> Image.Image:
    """16- and 32-bit grey and floating point in 8 bits; any other image itself."""
    if not image.mode.startswith(("I", "F")):
        return image
    values: npt.NDArray[Any] = np.asarray(image)
    sixteen = image.mode.startswith("I;16") or image.format == "PPM"
    scaled = _high_byte(values) if sixteen and image.mode != "F" else _stretched(values)
    if image.format == "TIFF" and _photometric(image) == _WHITE_IS_ZERO:
        scaled = 255 - scaled
    clear = image.info.get("transparency")
    if clear is not None:
        scaled[values == clear] = 255
    return Image.fromarray(scaled)


def _photometric(image: Any) -> int | None:
    found: int | None = image.tag_v2.get(_PHOTOMETRIC_INTERPRETATION)
    return found


def _high_byte(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """As Pillow reads 16-bit colour, and as an 8-bit copy of the file has it: 65535 is 255."""
    return (values >> 8).astype(np.uint8)


def _stretched(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """From the least to the greatest finite value, 0 to 255."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = np.zeros(values.shape, np.uint8)
    for top in range(0, len(values) if high > low else 0, _ROWS_AT_ONCE):
        rows = np.nan_to_num(values[top : top + _ROWS_AT_ONCE].astype(np.float64), nan=low)
        scaled[top : top + _ROWS_AT_ONCE] = (rows.clip(low, high) - low) * (255 / (high - low))
    return scaled


def _on_white(image: Image.Image) -> Image.Image:
    """As a page shows it, and as transformers' own convert_to_rgb composites."""
    clear = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
        # A PNG of 16 bits a colour, of which Pillow has read the high bytes.
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.mode == "La":
        image = image.convert("LA")
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, _ROWS_AT_ONCE):
        rows = image.crop((0, top, image.width, min(top + _ROWS_AT_ONCE, image.height)))
        colours = rows.convert("RGBA")
        white = Image.new("RGBA", rows.size, _WHITE)
        whole.paste(Image.alpha_composite(white, colours).convert("RGB"), (0, top))
    return whole


def _from_lab(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.createProfile("LAB"),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert converted is not None  # not converted in place
    return converted
