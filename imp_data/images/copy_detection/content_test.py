"""Tell whether two document-like images have the same content: every letter and every mark."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from imp_data.images.copy_detection.grey import Grey, Numbers, halve, reduce_grey
from imp_data.images.copy_detection.registration import register
from imp_data.images.copy_detection.sampling import centred, fine_structure, levels_of, sample
from imp_data.images.phash import strips

_SIDE_PX, _WINDOW_PX, _AROUND_PX = 512, 8, 17
# A window with this deviation, in grey levels, in either image has content.
_CONTENT_LEVELS = 12
_LEAST_CORRELATION = 0.25
_LEAST_WINDOWS = 32


class ContentTest(NamedTuple):
    """How many of 64x64 windows have content, and in how many of these the images differ."""

    windows: int
    differing: int

    @property
    def same(self) -> bool:
        """Whether content is there to compare, and no window differs."""
        return self.windows >= _LEAST_WINDOWS and self.differing == 0


def compare_content(image: Image.Image | Grey, reference: Image.Image | Grey) -> ContentTest:
    """Compare whole grey images, aligned, in windows of 8x8 of 512x512 pixels.

    Strict: a changed digit of a page differs, and so do many re-encoded, cropped or blurred
    copies. It takes about 40 ms and needs both images.
    """
    one, other = (_grey(some) for some in (image, reference))
    small = [halve(reduce_grey(some))[None] for some in (one, other)]
    same_place = centred(np.array([[[1.0, 0, 0], [0, 1, 0]]]))
    maps = register(small[0], same_place, small[1], same_place)
    both = []
    inside = np.ones((1, _SIDE_PX, _SIDE_PX), np.bool_)
    for grey, places in ((one, same_place), (other, maps)):
        square = grey.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX)
        found = sample(levels_of(np.asarray(square)[None], _SIDE_PX), places, _SIDE_PX)
        inside &= found.inside
        both.append(found.levels)
    fine = [fine_structure(levels, _AROUND_PX, inside) for levels in both]
    return _compare(fine[0], fine[1])


def _compare(fine: Numbers, other: Numbers) -> ContentTest:
    count = _WINDOW_PX**2
    first, second = _window_sums(fine), _window_sums(other)
    variance = count * _window_sums(fine * fine) - first * first
    other_variance = count * _window_sums(other * other) - second * second
    covariance = count * _window_sums(fine * other) - first * second
    content = np.maximum(variance, other_variance) >= (count * 4 * _CONTENT_LEVELS) ** 2
    least = _LEAST_CORRELATION * np.sqrt(variance) * np.sqrt(other_variance)
    differing = content & ((covariance < least) | (covariance <= 0))
    return ContentTest(int(content.sum()), int(differing.sum()))


def _window_sums(values: Numbers) -> Numbers:
    cells = _SIDE_PX // _WINDOW_PX
    sums: Numbers = values.reshape(cells, _WINDOW_PX, cells, _WINDOW_PX).sum(axis=(1, 3))
    return sums


def _grey(image: Image.Image | Grey) -> Image.Image:
    if not isinstance(image, Image.Image):
        return Image.fromarray(image)
    return image if image.mode == "L" else Image.fromarray(np.concatenate(list(strips(image))))
