"""The forms in which a copy of a reference is expected, with the hashes of each."""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.copy_detection.grey import THUMBNAIL_PX, Grey
from imp_data.images.copy_detection.hashes import WHOLE, Hashes, Region, region_hashes

Affine = npt.NDArray[np.float64]
_WEIGHT = 1 << 8


class Variant(NamedTuple):
    """A form of a copy: the reference turned by `degrees`, cut to `region`, then transposed.

    A region with left > right is mirrored, one beyond the image has a pad of the level `fill`.
    `by_blocks`: its block hash is searched too, not compared alone.
    """

    region: Region = WHOLE
    transposed: bool = False
    degrees: int = 0
    fill: int = 0
    by_blocks: bool = False

    def to_reference(self, aspect: float = 1) -> Affine:
        """Return the map float64[2, 3] from (x, y, 1) in the copy to (x, y) in the reference.

        Both in shares of the sides. `aspect` is the reference's width by its height.
        """
        left, top, right, bottom = self.region
        cut = np.array([[right - left, 0, left], [0, bottom - top, top], [0, 0, 1]], np.float64)
        if self.transposed:
            cut = cut @ np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
        found: Affine = _turn(self.degrees, aspect) @ cut
        return found


# Of 451 forms, those that a greedy choice took to find the most of 21,520 altered copies of 330
# photographs (ImageNet, BSDS500), with less weight for crops to half the area and for two changes
# at once; and, whatever it took, the mirrored and transposed images and the middle of turned ones.
# Left, top, right and bottom in percent, transposed, degrees, fill, by blocks.
_CHOSEN = (
    (0, 0, 100, 100, False, 0, 0, False),
    (0, 0, 100, 95, False, 0, 0, False),
    (7, 7, 100, 100, False, 0, 0, False),
    (0, 5, 90, 95, False, 0, 0, False),
    (0, 10, 90, 100, False, 0, 0, False),
    (5, 0, 95, 90, False, 0, 0, False),
    (5, 5, 95, 95, False, 0, 0, False),
    (5, 10, 95, 100, False, 0, 0, False),
    (10, 0, 100, 90, False, 0, 0, False),
    (10, 5, 100, 95, False, 0, 0, False),
    (0, 0, 80, 100, False, 0, 0, True),
    (0, 0, 100, 80, False, 0, 0, True),
    (0, 20, 100, 100, False, 0, 0, False),
    (20, 0, 100, 100, False, 0, 0, False),
    (0, 15, 85, 100, False, 0, 0, False),
    (0, 0, 82, 82, False, 0, 0, False),
    (0, 4, 82, 86, False, 0, 0, False),
    (4, 4, 86, 86, False, 0, 0, False),
    (4, 14, 86, 96, False, 0, 0, False),
    (9, 0, 91, 82, False, 0, 0, False),
    (9, 18, 91, 100, False, 0, 0, False),
    (14, 4, 96, 86, False, 0, 0, False),
    (14, 14, 96, 96, False, 0, 0, False),
    (14, 18, 96, 100, False, 0, 0, False),
    (18, 9, 100, 91, False, 0, 0, False),
    (18, 18, 100, 100, False, 0, 0, False),
    (0, 10, 80, 90, False, 0, 0, False),
    (0, 20, 80, 100, False, 0, 0, False),
    (5, 0, 85, 80, False, 0, 0, False),
    (5, 20, 85, 100, False, 0, 0, False),
    (15, 0, 95, 80, False, 0, 0, False),
    (20, 0, 100, 80, False, 0, 0, False),
    (20, 5, 100, 85, False, 0, 0, False),
    (20, 15, 100, 95, False, 0, 0, False),
    (11, 11, 89, 89, False, 0, 0, False),
    (0, 17, 78, 94, False, 0, 0, False),
    (6, 11, 83, 89, False, 0, 0, False),
    (17, 11, 94, 89, False, 0, 0, False),
    (12, 6, 88, 81, False, 0, 0, False),
    (12, 19, 88, 94, False, 0, 0, False),
    (6, 19, 81, 94, False, 0, 0, False),
    (19, 6, 94, 81, False, 0, 0, False),
    (21, 21, 93, 93, False, 0, 0, False),
    (0, 100, 100, 0, False, 0, 0, True),
    (100, 100, 0, 0, False, 0, 0, True),
    (100, 0, 0, 100, False, 0, 0, True),
    (94, 0, 0, 94, False, 0, 0, False),
    (97, 3, 3, 97, False, 0, 0, False),
    (97, 6, 3, 100, False, 0, 0, False),
    (100, 0, 6, 94, False, 0, 0, False),
    (0, 0, 100, 100, True, 0, 0, False),
    (0, 100, 100, 0, True, 0, 0, False),
    (100, 0, 0, 100, True, 0, 0, False),
    (100, 100, 0, 0, True, 0, 0, False),
    (0, 0, 100, 100, False, -10, 0, False),
    (0, 0, 100, 100, False, -6, 0, False),
    (0, 0, 100, 100, False, 10, 0, False),
    (2, 2, 98, 98, False, 2, 0, True),
    (2, 2, 98, 98, False, 8, 0, False),
    (6, 6, 94, 94, False, -4, 0, True),
    (8, 8, 92, 92, False, -12, 0, False),
    (8, 8, 92, 92, False, -6, 0, False),
    (8, 8, 92, 92, False, 8, 0, False),
    (9, 9, 91, 91, False, -10, 0, False),
    (9, 9, 91, 91, False, 10, 0, False),
    (10, 10, 90, 90, False, 2, 0, True),
    (-5, -5, 105, 105, False, -2, 255, True),
    (-5, -5, 105, 105, False, 2, 255, False),
)


def _read(row: tuple[int, int, int, int, bool, int, int, bool]) -> Variant:
    left, top, right, bottom, transposed, degrees, fill, by_blocks = row
    region = Region(left / 100, top / 100, right / 100, bottom / 100)
    return Variant(region, transposed, degrees, fill, by_blocks)


VARIANTS = tuple(_read(row) for row in _CHOSEN)


def nearest_aspect(percent: int) -> float:
    """Return the aspect to turn images by, of the three most frequent; registration does the rest.

    `percent` is an image's width in percent of its height.
    """
    return 3 / 4 if percent < 87 else 1 if percent < 116 else 4 / 3


def variant_hashes(
    greys: Grey, variants: tuple[Variant, ...], aspect: float = 1
) -> tuple[Hashes, Hashes]:
    """Return (phashes, block hashes), uint64[n, variants] each, of uint8[n, 64, 64].

    `aspect` is the width by the height of the images of which these are squares.
    """
    both = np.empty((2, len(greys), len(variants)), np.uint64)
    turned: dict[tuple[int, int], Grey] = {}
    for place, (region, transposed, degrees, fill, _) in enumerate(variants):
        key = (degrees, fill)
        if degrees and key not in turned:
            turned[key] = _turned(greys, degrees, fill, aspect)
        source = turned[key] if degrees else greys
        both[:, :, place] = region_hashes(source, region, fill, transposed)
    return both[0], both[1]


def _turn(degrees: int, aspect: float) -> Affine:
    """Return the map from the turned image to the reference, about the centre."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    around = np.array([[cosine, -sine / aspect], [sine * aspect, cosine]])
    return np.column_stack([around, 0.5 - around @ (0.5, 0.5)])


def _turned(greys: Grey, degrees: int, fill: int, aspect: float) -> Grey:
    """Turn the images within their squares, in whole numbers; corners have the level `fill`."""
    levels = np.pad(greys, ((0, 0), (0, 1), (0, 1)), constant_values=fill)
    levels = levels.reshape(len(greys), -1)
    total = np.full((len(greys), THUMBNAIL_PX**2), _WEIGHT**2 // 2, np.int64)
    for place, weight in _turning(degrees, aspect):
        total += levels[:, place] * weight
    turned = (total // _WEIGHT**2).astype(np.uint8)
    return turned.reshape(greys.shape)


@cache
def _turning(
    degrees: int, aspect: float
) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], ...]:
    """Return four (places, weights) of a bilinear turn, in squares with an outer row and column."""
    centres = (np.arange(THUMBNAIL_PX) + 0.5) / THUMBNAIL_PX
    y, x = np.meshgrid(centres, centres, indexing="ij")
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    fixed = np.rint((_turn(degrees, aspect) @ points * THUMBNAIL_PX - 0.5) * _WEIGHT).astype(
        np.int64
    )
    whole, rest = fixed // _WEIGHT, fixed % _WEIGHT
    found = []
    for down in (0, 1):
        for across in (0, 1):
            column, row = whole[0] + across, whole[1] + down
            inside = (np.minimum(column, row) >= 0) & (np.maximum(column, row) < THUMBNAIL_PX)
            weight = (rest[0] if across else _WEIGHT - rest[0]) * (
                rest[1] if down else _WEIGHT - rest[1]
            )
            place = np.where(inside, row * (THUMBNAIL_PX + 1) + column, THUMBNAIL_PX)
            found.append((place, weight))
    return tuple(found)
