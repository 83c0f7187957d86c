"""Alterations that images undergo on the web, by name, in groups of like strength."""

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import xxhash
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from imp_data.images.decoding import decode_rgb
from imp_data.screening.decontamination.certificate import overlays, transforms
from imp_data.screening.decontamination.certificate.transforms import Change

Group = Literal["A", "B", "C", "D", "E"]

_EXIF_ORIENTATION = 0x0112
_TURNED_BACK = 6
# Larger images are reduced before they are altered: copies usually are, and it bounds memory and
# time. Open Images, COCO and the sets made of them have no longer side.
_MOST_PX = 1_024


class AlterationGroup(NamedTuple):
    """Alterations of like strength, and the recall that a matcher should reach on them."""

    title: str
    goal: float | None


GROUPS: Mapping[Group, AlterationGroup] = {
    "A": AlterationGroup("re-encoding, size, tone, blur, noise", 0.995),
    "B": AlterationGroup("crops to 80 % of the area, frames, flips, turns, up to 5°", 0.985),
    "C": AlterationGroup("crops to 75 %, watermarks, text over the image", 0.97),
    "D": AlterationGroup("crops to 60 %, rotation by 10°, moiré", 0.85),
    "E": AlterationGroup("beyond: crops to half, several alterations at once", None),
}


class Alteration(NamedTuple):
    """A change, its group, and the form in which the changed image is saved."""

    group: Group
    change: Change
    form: str = "JPEG"
    options: Mapping[str, Any] = MappingProxyType({"quality": 90})


def altered(image: Image.Image, alteration: Alteration, seed: int = 0) -> bytes:
    """Return the file of an altered copy; the RGB `image` does not change.

    `seed` (see `copy_seed`) decides places of crops, and noise.
    """
    out = io.BytesIO()
    copy = alteration.change(image, np.random.default_rng(seed))
    copy.save(out, alteration.form, **alteration.options)
    return out.getvalue()


def copy_seed(image: str, alteration: str) -> int:
    """Return the seed of one altered copy: the xxh3 of both names."""
    return xxhash.xxh3_64_intdigest(f"{image}\0{alteration}".encode())


def plain_copy(data: bytes, max_pixels: int | None = None) -> Image.Image:
    """Return the stored image in RGB without EXIF, the longer side at most 1,024 px.

    Raise what `decode_rgb` raises.
    """
    plain = decode_rgb(data, max_pixels)
    plain.thumbnail((_MOST_PX, _MOST_PX))
    plain.info = {}
    return plain


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = value
    return exif


def _of(change: Callable[..., Image.Image], *how: Any) -> Change:
    """Return a change without chance."""
    return lambda image, generator: change(image, *how)


def _drawn(change: Callable[..., Image.Image], *how: Any) -> Change:
    """Return a change whose last argument is the generator."""
    return lambda image, generator: change(image, *how, generator)


def _enhance(kind: Callable[[Image.Image], Any], factor: float) -> Change:
    return lambda image, generator: kind(image).enhance(factor)


def _chain(*changes: Change) -> Change:
    def change(image: Image.Image, generator: np.random.Generator) -> Image.Image:
        for one in changes:
            image = one(image, generator)
        return image

    return change


def _jpeg(change: Change, quality: int) -> Alteration:
    return Alteration("E", change, options={"quality": quality})


def _group(group: Group, some: Mapping[str, Change | Alteration]) -> dict[str, Alteration]:
    return {
        name: one._replace(group=group) if isinstance(one, Alteration) else Alteration(group, one)
        for name, one in some.items()
    }


_SAME = _of(lambda image: image)
_FLIP, _OVER = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM
_QUARTER, _HALF = Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180
_THREE = Image.Transpose.ROTATE_270
_MIRROR = _of(transforms.turn, _FLIP)
_CROP_80 = _of(transforms.crop_to_area, 0.8)

_A = _group("A", {
    **{f"JPEG, quality {quality}": _jpeg(_SAME, quality) for quality in (90, 70, 50, 30, 10)},
    "PNG": Alteration("A", _SAME, "PNG", {"compress_level": 1}),
    "WebP, quality 80": Alteration("A", _SAME, "WEBP", {"quality": 80, "method": 0}),
    "WebP, quality 20": Alteration("A", _SAME, "WEBP", {"quality": 20, "method": 0}),
    "GIF, 256 colours": Alteration("A", _of(Image.Image.quantize, 256, 2), "GIF", {}),
    "half as large": _of(transforms.scale, 1 / 2),
    "a quarter as large": _of(transforms.scale, 1 / 4),
    "a tenth as large": _of(transforms.scale, 1 / 10),
    "half as large again": _of(transforms.scale, 3 / 2),
    "a third as large, JPEG, quality 50": _jpeg(_of(transforms.scale, 1 / 3), 50),
    "brightness 0.7": _enhance(ImageEnhance.Brightness, 0.7),
    "brightness 1.3": _enhance(ImageEnhance.Brightness, 1.3),
    "brightness 1.5": _enhance(ImageEnhance.Brightness, 1.5),
    "contrast 0.7": _enhance(ImageEnhance.Contrast, 0.7),
    "contrast 1.3": _enhance(ImageEnhance.Contrast, 1.3),
    "gamma 0.7": _of(transforms.curve, 0.7),
    "gamma 1.4": _of(transforms.curve, 1.4),
    "levels stretched": _of(ImageOps.autocontrast, 1),
    "saturation 0.5": _enhance(ImageEnhance.Color, 0.5),
    "saturation 1.8": _enhance(ImageEnhance.Color, 1.8),
    "warmer": _of(transforms.tint, (1.12, 1.0, 0.86)),
    "grey": _of(Image.Image.convert, "L"),
    "sepia": _of(transforms.sepia),
    "16 levels a colour": _of(ImageOps.posterize, 4),
    "blurred": _of(Image.Image.filter, ImageFilter.GaussianBlur(2)),
    "median of 3 x 3 px": _of(Image.Image.filter, ImageFilter.MedianFilter(3)),
    "sharpened": _of(Image.Image.filter, ImageFilter.UnsharpMask(2, 150)),
    "noise of 12 levels": _drawn(transforms.add_noise, 12),
    "specks on 1 %": _drawn(transforms.add_specks, 0.01),
    "corners darker by 40 %": _of(transforms.vignette, 0.4),
    "turned 90°, EXIF turns it back": Alteration(
        "A", _of(transforms.turn, _QUARTER),
        options={"quality": 90, "exif": _orientation(_TURNED_BACK)},
    ),
})  # fmt: skip

_B = _group("B", {
    "cropped by 1 %": _of(transforms.crop, 0.01),
    "cropped by 2 %": _of(transforms.crop, 0.02),
    "cropped by 5 %": _of(transforms.crop, 0.05),
    "cropped by 10 %": _of(transforms.crop, 0.10),
    "crop to 80 % of the area": _drawn(transforms.crop_to_area, 0.8),
    "one side cut by 10 %": _drawn(transforms.crop_side, 0.1),
    "one side cut by 20 %": _drawn(transforms.crop_side, 0.2),
    "black border of 2 %": _of(transforms.add_border, 0.02, "black"),
    "white border of 5 %": _of(transforms.add_border, 0.05, "white"),
    "red frame of 4 %": _of(transforms.add_border, 0.04, "#a4161a"),
    "white margin of 20 % on two sides": _of(transforms.pad_side, 0.2, "white"),
    "black bars to 21:9": _of(transforms.pad_to, 21 / 9, "black"),
    "white bars to a square": _of(transforms.pad_to, 1, "white"),
    "screenshot of a page": _of(overlays.screenshot),
    "caption bar below": _of(overlays.add_caption_bar, 0.14, False),
    "caption bar above": _of(overlays.add_caption_bar, 0.14, True),
    "round corners": _of(transforms.round_corners, 0.12),
    "squeezed to a square": _of(transforms.squeeze),
    "25 % wider": _of(transforms.scale, 1.25, 1),
    "25 % higher": _of(transforms.scale, 1, 1.25),
    "mirrored": _MIRROR,
    "upside down, mirrored": _of(transforms.turn, _OVER),
    "turned 90°": _of(transforms.turn, _QUARTER),
    "turned 180°": _of(transforms.turn, _HALF),
    "turned 270°": _of(transforms.turn, _THREE),
    "tilted by 2°": _of(transforms.tilt, 2),
    "tilted by 5°": _of(transforms.tilt, -5),
    "tilted by 3°, corners cut off": _of(transforms.straighten, 3),
})  # fmt: skip

_C = _group("C", {
    "crop to 75 % of the area": _of(transforms.crop_to_area, 0.75),
    "crop to 75 %, anywhere": _drawn(transforms.crop_to_area, 0.75),
    "logo on 2 %": _of(overlays.add_logo, 0.02),
    "watermark": _of(overlays.add_watermark),
    "watermark everywhere": _of(overlays.add_tiled_watermark),
    "line of text": _of(overlays.add_text),
    "headlines": _of(overlays.add_headlines),
    "box of text on 10 %": _of(overlays.add_text_block),
})  # fmt: skip

_D = _group("D", {
    "crop to 60 % of the area": _of(transforms.crop_to_area, 0.6),
    "crop to 60 %, anywhere": _drawn(transforms.crop_to_area, 0.6),
    "tilted by 10°": _of(transforms.tilt, 10),
    "moiré of 24 levels": _of(transforms.photograph_screen, 24),
})  # fmt: skip

_E = _group("E", {
    "crop to 50 % of the area": _of(transforms.crop_to_area, 0.5),
    "crop to 50 %, anywhere": _drawn(transforms.crop_to_area, 0.5),
    "perspective of 8 %": _of(transforms.lean, 0.08),
    "mirrored, crop to 80 %": _chain(_MIRROR, _CROP_80),
    "mirrored, tilted by 5°": _chain(_MIRROR, _of(transforms.tilt, 5)),
    "turned 90°, white border of 5 %": _chain(
        _of(transforms.turn, _QUARTER), _of(transforms.add_border, 0.05, "white")
    ),
    "crop to 80 %, watermark": _chain(_CROP_80, _of(overlays.add_watermark)),
    "screenshot of a crop to 75 %, JPEG, quality 50": _jpeg(
        _chain(_drawn(transforms.crop_to_area, 0.75), _of(overlays.screenshot)), 50
    ),
    "half of a collage": _of(transforms.collage),
    "negative": _of(transforms.negative),
})  # fmt: skip

ALTERATIONS: Mapping[str, Alteration] = {**_A, **_B, **_C, **_D, **_E}
