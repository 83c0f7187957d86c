"""Image files of every mode, each with the RGB that it converts to."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from conftest import encoded, photo
from PIL import Image, ImageCms, PngImagePlugin

Levels = npt.NDArray[np.uint8]

COLOURS: Levels = np.asarray(photo(4, (40, 28)))
GREY: Levels = np.asarray(photo(4, (40, 28)).convert("L"))
# Clear at the left, opaque at the right, black beneath: what most cut-outs look like.
ALPHA: Levels = np.broadcast_to(np.linspace(0, 255, 40).astype(np.uint8), (28, 40)).copy()
ALPHA[:, :8], ALPHA[:, 32:] = 0, 255


def on_white(levels: Levels, alpha: Levels = ALPHA) -> Levels:
    """Composite on white (source-over), rounded to the nearest level."""
    share = alpha[:, :, None] / 255.0
    return np.rint(levels * share + 255 * (1 - share)).astype(np.uint8)


def in_grey(levels: Levels) -> Levels:
    return np.repeat(levels[:, :, None], 3, axis=2)


def _with_alpha(mode: str) -> Image.Image:
    image = Image.fromarray(COLOURS).convert(mode[:-1])
    image.putalpha(Image.fromarray(ALPHA))
    assert image.mode == mode
    return image


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(COLOURS), exif=exif)


def _text() -> PngImagePlugin.PngInfo:
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text("parameters", "word " * 600_000, zip=True)  # 3 MB: Pillow's own bound is 1 MiB
    return chunk


def _paletted() -> Image.Image:
    return Image.fromarray(COLOURS).quantize(32)


def _palette_on_white() -> Levels:
    image = _paletted()
    levels = np.asarray(image.convert("RGB")).copy()
    levels[np.asarray(image) == 3] = 255
    return levels


def _cmyk(**options: object) -> bytes:
    return encoded(Image.fromarray(COLOURS).convert("CMYK"), "TIFF", **options)


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def _sixteen(levels: Levels) -> npt.NDArray[np.uint16]:
    return levels.astype(np.uint16) * 257


def _pgm() -> bytes:
    return b"P5 40 28 65535\n" + _sixteen(GREY).astype(">u2").tobytes()


_FIRST, _SECOND = Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)
_TIMES = {"save_all": True, "append_images": [_SECOND], "lossless": True}

# name: (bytes, RGB). Exact, but for the rounding of partial alpha, which is within one level.
FILES: dict[str, Callable[[], tuple[bytes, Levels]]] = {
    "RGB": lambda: (encoded(Image.fromarray(COLOURS)), COLOURS),
    "RGBA": lambda: (encoded(_with_alpha("RGBA")), on_white(COLOURS)),
    "RGBA in WebP": lambda: (
        encoded(_with_alpha("RGBA"), "WEBP", lossless=True, exact=True),
        on_white(COLOURS),
    ),
    "LA": lambda: (encoded(_with_alpha("LA")), on_white(in_grey(GREY))),
    "a clear colour of a palette": lambda: (
        encoded(_paletted(), transparency=3),
        _palette_on_white(),
    ),
    "a clear colour of a GIF": lambda: (
        encoded(_paletted(), "GIF", transparency=3),
        _palette_on_white(),
    ),
    "a clear grey": lambda: (
        encoded(Image.fromarray(GREY), transparency=int(GREY[5, 5])),
        in_grey(np.where(GREY[5, 5] == GREY, 255, GREY).astype(np.uint8)),
    ),
    "a clear colour": lambda: (
        encoded(Image.fromarray(COLOURS), transparency=tuple(COLOURS[5, 5].tolist())),
        np.where((COLOURS[5, 5] == COLOURS).all(axis=2, keepdims=True), 255, COLOURS).astype("u1"),
    ),
    "16 bits": lambda: (encoded(Image.fromarray(_sixteen(GREY))), in_grey(GREY)),
    "16 bits in TIFF": lambda: (encoded(Image.fromarray(_sixteen(GREY)), "TIFF"), in_grey(GREY)),
    "16 bits in PGM": lambda: (_pgm(), in_grey(GREY)),
    "a clear 16-bit grey": lambda: (
        encoded(Image.fromarray(_sixteen(GREY)), transparency=int(GREY[5, 5]) * 257),
        in_grey(np.where(GREY[5, 5] == GREY, 255, GREY).astype(np.uint8)),
    ),
    "CMYK": lambda: (_cmyk(), COLOURS),
    "CMYK with a profile": lambda: (_cmyk(icc_profile=_profile()), COLOURS),
    "an animated WebP": lambda: (encoded(_FIRST, "WEBP", **_TIMES), COLOURS),
    "an animated PNG": lambda: (
        encoded(_FIRST, save_all=True, append_images=[_SECOND]),
        COLOURS,
    ),
    "a large text chunk": lambda: (encoded(Image.fromarray(COLOURS), pnginfo=_text()), COLOURS),
    **{f"EXIF {n}": lambda n=n: (_turned(n), COLOURS) for n in range(2, 9)},  # type: ignore[misc]
}
