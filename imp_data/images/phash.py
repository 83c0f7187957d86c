"""Compute imagehash's 64-bit perceptual hash by two matrix products.

`imagehash.phash` (imagehash 4.3.2) scales the image in grey to 32x32 by Lanczos' filter, takes
the cosine transform, and compares the 8x8 lowest frequencies with their median. Both steps are
linear: here one matrix for the columns and one for the rows combine them. Nothing is rounded to
8 bits in between, so a hash may differ from imagehash's in two bits of the 64, seldom in four
(counted in benchmarks/fingerprint.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from imp_data.images.rgb import eight_bits, has_transparency, rgb

Pixels = npt.NDArray[np.uint8]
Frequencies = npt.NDArray[np.float64]

_SIDE_PX, _LOWEST = 32, 8
_COSINES = np.cos(np.pi / 2 / _SIDE_PX * np.outer(np.arange(_LOWEST), 2 * np.arange(_SIDE_PX) + 1))
# The contribution of each squared frequency to the mean square of the 32x32 pixels.
_LENGTHS = np.array([1.0] + [2.0] * (_LOWEST - 1)) / _SIDE_PX
_SHARES = np.outer(_LENGTHS, _LENGTHS).ravel() / _SIDE_PX**2
_LANCZOS_LOBES = 3
_ROWS_AT_ONCE = 256
# Fractions of a unit; one grey level in all 32x32 pixels makes a thousand units.
_PARTS = 1024
# Below this contrast of the lowest frequencies, in grey levels of 255 (root mean square over the
# image), an image is flat: rounding, grain or one line on a page decides its bits, and unlike
# images have equal ones. Scans of empty pages reach 1.2, a page with one line of text 1.8; a page
# with two lines has 3.5, and no photograph and no chart that was measured has less than 3.2.
FLAT_LEVELS = 2.0
# EXIF orientation: (reverse the rows, reverse the columns, then transpose).
_UPRIGHT = {
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}


def frequencies(
    strips: Iterable[Pixels], size: tuple[int, int], extent: tuple[float, float]
) -> Frequencies:
    """Return the lowest frequencies, float64[8, 8], of a grey image in strips of rows.

    `size` is (width, height) in pixels; `extent` is the part of it that is image: the last column
    or row of a reduced image may cover less than a pixel.
    """
    (width, height), (across, down) = size, extent
    of_columns, of_rows = _matrix(width, across).T, _matrix(height, down)
    lowest, top = np.zeros((_LOWEST, _LOWEST)), 0
    for strip in strips:
        lowest += of_rows[:, top : top + len(strip)] @ (strip @ of_columns)
        top += len(strip)
    return lowest


@lru_cache(maxsize=256)
def _matrix(length: int, extent: float) -> npt.NDArray[np.float64]:
    """Return the matrix from a row of pixels to its lowest frequencies, float64[8, length].

    The weights are Pillow's (src/libImaging/Resample.c, precompute_coeffs).
    """
    step = extent / _SIDE_PX
    centres = step * (np.arange(_SIDE_PX)[:, None] + 0.5)
    away = (np.arange(length) + 0.5 - centres) / max(step, 1)
    weights = np.sinc(away) * np.sinc(away / _LANCZOS_LOBES) * (abs(away) < _LANCZOS_LOBES)
    matrix: npt.NDArray[np.float64] = _COSINES @ (weights / weights.sum(axis=1, keepdims=True))
    return matrix


def upright(stored: Frequencies, orientation: int) -> Frequencies:
    """Return the frequencies of the image turned by an EXIF orientation from 2 to 8.

    Reversing a signal changes the sign of every other of its frequencies.
    """
    rows, columns, exchanged = _UPRIGHT[orientation]
    signs = np.where(np.arange(_LOWEST) % 2, -1, 1)
    turned = stored * (signs[:, None] if rows else 1) * (signs if columns else 1)
    return turned.T if exchanged else turned


def phashes(some: Sequence[Frequencies]) -> list[int | None]:
    """Return unsigned 64-bit hashes, the first bit highest; None for a flat image."""
    if not some:
        return []
    # Drawings and empty pages have equal frequencies. Without rounding, the last bits of a double,
    # which differ between machines, would decide.
    lowest = np.rint(np.stack(some) * _PARTS).reshape(len(some), _LOWEST**2)
    ordered = np.sort(lowest, axis=1)
    middle = ordered[:, _LOWEST**2 // 2 - 1] + ordered[:, _LOWEST**2 // 2]
    bits = np.packbits(2 * lowest > middle[:, None], axis=1)
    flat = contrasts(lowest / _PARTS) < FLAT_LEVELS
    hashes: list[int] = bits.view(">u8")[:, 0].tolist()
    return [None if is_flat else one for one, is_flat in zip(hashes, flat.tolist(), strict=True)]


def contrasts(lowest: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the root mean square, in grey levels, of the frequencies [n, 64] without the mean.

    By Parseval's theorem; the cosines are not normalized, so their lengths are factors.
    """
    found: npt.NDArray[np.float64] = np.sqrt((lowest[:, 1:] ** 2) @ _SHARES[1:])
    return found


def strips(image: Image.Image) -> Iterator[Pixels]:
    """Yield an image's grey values in strips of rows, to bound the memory of the numbers."""
    image.load()
    image = eight_bits(image)
    if image.mode in {"RGB", "RGBA"} and not has_transparency(image):
        image = image.convert("L")  # the same levels as by way of RGB, at once
    for top in range(0, image.height, _ROWS_AT_ONCE):
        rows = image.crop((0, top, image.width, min(top + _ROWS_AT_ONCE, image.height)))
        plain = rows.mode == "L" and not has_transparency(rows)
        yield np.asarray(rows if plain else rgb(rows).convert("L"))
