"""Convert an opened image of any mode to 8-bit RGB, equally for hashes and for models.

This file needs Pillow and NumPy alone, because every saved model folder contains a copy of it.
The rules, with their reasons in docs/formats.md:

* Transparency (an alpha band, or a PNG's or GIF's transparent colour) is composited on white.
* 16-bit grey keeps its high byte; so does the 32-bit grey that Pillow reads from a 16-bit PGM.
  A TIFF of more than 8 bits in which 0 is white is inverted, as Pillow does for 8 bits.
* Other 32-bit grey and floating point have no declared range: their own minimum becomes 0 and
  their own maximum 255. NaN becomes 0. An image of one value becomes black.
* Embedded ICC profiles and the EXIF orientation are not applied.
* LAB is converted by LittleCMS, all other modes by Pillow.
* An animation gives its first frame, which Pillow opens.
* Up to 64 MiB of text in PNGs is skipped; call `allow_text` before opening the file.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, PngImagePlugin

# Part of the decoder's version, so that hashes by another rule are not compared with these.
RGB_RULE = 2

# Some real images have large text chunks, which Pillow refuses from 1 MiB on.
_MAX_PNG_TEXT_BYTES = 64 << 20
_WHITE = (255, 255, 255, 255)
_PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO = 262, 0  # TIFF 6.0, section 3
# A float takes eight bytes, and compositing twelve more for each pixel: process rows in strips.
_ROWS_AT_ONCE = 256


def allow_text() -> None:
    """Let Pillow open PNGs with up to 64 MiB of text, in the whole process."""
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = _MAX_PNG_TEXT_BYTES


def rgb(image: Image.Image) -> Image.Image:
    """Return the image in 8-bit RGB; an RGB image without transparency is returned itself, loaded.

    Raise whatever its decoder raises.
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
    """Return whether some pixels may be transparent; `image` is loaded."""
    if image.mode in {"RGBA", "LA", "PA"}:
        lowest, _ = image.getchannel("A").getextrema()
        return lowest != 255
    if image.mode in {"RGBa", "La"}:
        return True
    palette = image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA"
    return palette or image.info.get("transparency") is not None


def eight_bits(image: Image.Image) -> Image.Image:
    """Convert 16- and 32-bit grey and floating point to 8 bits; return any other image itself."""
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
    """Keep the high byte, as Pillow does for 16-bit colour: 65535 becomes 255."""
    return (values >> 8).astype(np.uint8)


def _stretched(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scale the least to the greatest finite value to 0 to 255."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = np.zeros(values.shape, np.uint8)
    for top in range(0, len(values) if high > low else 0, _ROWS_AT_ONCE):
        rows = np.nan_to_num(values[top : top + _ROWS_AT_ONCE].astype(np.float64), nan=low)
        scaled[top : top + _ROWS_AT_ONCE] = (rows.clip(low, high) - low) * (255 / (high - low))
    return scaled


def _on_white(image: Image.Image) -> Image.Image:
    """Composite on white, as a browser and transformers' own convert_to_rgb do."""
    clear = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
        # Pillow has read the high bytes of a PNG with 16 bits per colour.
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
