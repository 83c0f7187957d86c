"""Alterations that images undergo on the web, by name."""

import io
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

_EXIF_ORIENTATION = 0x0112
_WORDS = "Photograph from the archive"


class Alteration(NamedTuple):
    """A change, and the form in which the changed image is saved.

    `near`: at least nine of ten such copies of photographs are within 10 bits
    (benchmarks/recall.py). The others show what a hash of coarse structure misses.
    """

    change: Callable[[Image.Image], Image.Image]
    form: str = "JPEG"
    options: Mapping[str, Any] = MappingProxyType({"quality": 90})
    near: bool = True


def altered(image: Image.Image, alteration: Alteration) -> bytes:
    """Return the file of an altered copy; the RGB `image` does not change."""
    out = io.BytesIO()
    alteration.change(image).save(out, alteration.form, **alteration.options)
    return out.getvalue()


def _same(image: Image.Image) -> Image.Image:
    return image


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    width, height = (max(round(side * factor), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _squeezed(image: Image.Image) -> Image.Image:
    side = min(image.size)
    return image.resize((side, side), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, share: float) -> Image.Image:
    """Remove `share` of the width and of the height, equally from both edges."""
    width, height = image.size
    across, down = round(width * share / 2), round(height * share / 2)
    return image.crop((across, down, width - across, height - down))


def _curved(image: Image.Image, gamma: float) -> Image.Image:
    table = [round(255 * (value / 255) ** gamma) for value in range(256)]
    return image.point(table * 3)


def _bordered(image: Image.Image, share: float, colour: str) -> Image.Image:
    """Add a frame as wide as `share` of the shorter side."""
    return ImageOps.expand(image, max(round(min(image.size) * share), 1), colour)


def _captioned(image: Image.Image) -> Image.Image:
    """Add a line of white text near the lower edge, a twelfth of the height, outlined."""
    copy = image.copy()
    width, height = copy.size
    font = ImageFont.load_default(max(height // 12, 6))
    place = (width // 20, height * 5 // 6)
    ImageDraw.Draw(copy).text(place, _WORDS, "white", font, stroke_width=1, stroke_fill="black")
    return copy


def _watermarked(image: Image.Image) -> Image.Image:
    """Add half transparent white text across the middle, at least half as wide."""
    width, height = image.size
    veil = Image.new("L", image.size)
    font = ImageFont.load_default(max(width // 10, 6))
    ImageDraw.Draw(veil).text((width // 2, height // 2), "© Agency", 128, font, anchor="mm")
    return Image.composite(Image.new("RGB", image.size, "white"), image, veil)


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = value
    return exif


def _turned(image: Image.Image, how: Image.Transpose) -> Image.Image:
    return image.transpose(how)


def _tilted(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees, Image.Resampling.BICUBIC)


def _jpeg(quality: int) -> Alteration:
    return Alteration(_same, options={"quality": quality})


def _changed(change: Callable[..., Image.Image], *how: Any) -> Alteration:
    return Alteration(lambda image: change(image, *how))


def _enhanced(kind: Callable[[Image.Image], Any], factor: float) -> Alteration:
    return Alteration(lambda image: kind(image).enhance(factor))


def _beyond(change: Callable[..., Image.Image], *how: Any) -> Alteration:
    return _changed(change, *how)._replace(near=False)


ALTERATIONS: Mapping[str, Alteration] = {
    **{f"JPEG, quality {quality}": _jpeg(quality) for quality in (90, 70, 50, 30, 10)},
    "PNG": Alteration(_same, "PNG", {"compress_level": 1}),
    "WebP, quality 80": Alteration(_same, "WEBP", {"quality": 80, "method": 0}),
    "GIF, 256 colours": Alteration(partial(Image.Image.quantize, method=2), "GIF", {}),
    "half as large": _changed(_scaled, 1 / 2),
    "a quarter as large": _changed(_scaled, 1 / 4),
    "half as large again": _changed(_scaled, 3 / 2),
    "squeezed to a square": _changed(_squeezed),
    "cropped by 1 %": _changed(_cropped, 0.01),
    "cropped by 2 %": _changed(_cropped, 0.02),
    "cropped by 5 %": _changed(_cropped, 0.05),
    "brightness 0.7": _enhanced(ImageEnhance.Brightness, 0.7),
    "brightness 1.3": _enhanced(ImageEnhance.Brightness, 1.3),
    "contrast 0.7": _enhanced(ImageEnhance.Contrast, 0.7),
    "contrast 1.3": _enhanced(ImageEnhance.Contrast, 1.3),
    "gamma 0.7": _changed(_curved, 0.7),
    "gamma 1.4": _changed(_curved, 1.4),
    "grey": _changed(Image.Image.convert, "L"),
    "blurred": _changed(Image.Image.filter, ImageFilter.GaussianBlur(2)),
    "sharpened": _changed(Image.Image.filter, ImageFilter.UnsharpMask(2, 150)),
    "line of text": _changed(_captioned),
    "watermark": _changed(_watermarked),
    "turned 90°, EXIF turns it back": Alteration(
        partial(_turned, how=Image.Transpose.ROTATE_90),
        options={"quality": 90, "exif": _orientation(6)},
    ),
    "black border of 2 %": _beyond(_bordered, 0.02, "black"),
    "white border of 5 %": _beyond(_bordered, 0.05, "white"),
    "cropped by 10 %": _beyond(_cropped, 0.10),
    "tilted by 2°": _beyond(_tilted, 2),
    "mirrored": _beyond(_turned, Image.Transpose.FLIP_LEFT_RIGHT),
    "turned 90°": _beyond(_turned, Image.Transpose.ROTATE_90),
    "turned 180°": _beyond(_turned, Image.Transpose.ROTATE_180),
}
