"""Find the regions of an image that may be an image of their own: within a frame, bars, a page."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.copy_detection.grey import SIDE_PX, Grey

# A line is even if its levels differ by no more; JPEG at quality 30 rings by less at this size.
_EVEN_LEVELS = 12
# A bar begins with a line nearly of one level, and has that level in so much of each line: text
# covers the rest.
_BAR_SHARES = (0.35, 0.2)
_BAR_LEVELS, _BEGIN_SHARE = 5, 0.85
_LEAST_AREA = 0.15
# Margins hide bars across the inside, and bars hide margins; a third pass finds nothing more.
_PASSES = 3


class Box(NamedTuple):
    """A region in 1/128 of the image's sides: left and top included, right and bottom not."""

    left: int
    top: int
    right: int
    bottom: int


WHOLE_BOX = Box(0, 0, SIDE_PX, SIDE_PX)


def find_boxes(grey: Grey) -> tuple[Box, ...]:
    """Return the whole of uint8[128, 128] first, then without even lines, then without bars.

    A box of less than 15 % of the image is left out, and so is one within a line of an earlier.
    """
    levels = grey.astype(np.int16)
    found = [WHOLE_BOX]
    for share in (None, *_BAR_SHARES):
        box = _trim(levels, share)
        if box == WHOLE_BOX:
            if share is not None:
                break  # no bar at any share
            continue
        area = (box.right - box.left) * (box.bottom - box.top)
        known = any(_near(box, other) for other in found)
        if not known and area >= _LEAST_AREA * SIDE_PX**2:
            found.append(box)
    return tuple(found)


def _near(box: Box, other: Box) -> bool:
    return all(abs(one - another) <= 1 for one, another in zip(box, other, strict=True))


def _trim(levels: npt.NDArray[np.int16], share: float | None) -> Box:
    """Remove lines from all four sides: even ones, or those that are bars by `share`."""
    left, top, right, bottom = WHOLE_BOX
    for _ in range(_PASSES):
        before = left, top, right, bottom
        inner = levels[top:bottom, left:right]
        first, last = _runs(inner, share)
        top, bottom = top + first, bottom - last
        inner = levels[top:bottom, left:right]
        if not inner.size:
            break
        first, last = _runs(inner.T, share)
        left, right = left + first, right - last
        if (left, top, right, bottom) == before or right == left:
            break
    return Box(left, top, right, bottom)


def _runs(lines: npt.NDArray[np.int16], share: float | None) -> tuple[int, int]:
    """Return how many of the lines to remove at the begin and at the end."""
    first = _run(lines, share)
    return first, _run(lines[first:][::-1], share) if first < len(lines) else 0


def _run(lines: npt.NDArray[np.int16], share: float | None) -> int:
    edge = np.sort(lines[0])
    if share is None:
        if edge[-1] - edge[0] > _EVEN_LEVELS:
            return 0
        inside = lines.max(axis=1) - lines.min(axis=1) <= _EVEN_LEVELS
    else:
        middle = edge[len(edge) // 2]
        low, high = edge.searchsorted((middle - _BAR_LEVELS, middle + _BAR_LEVELS + 1))
        if high - low < _BEGIN_SHARE * len(edge):
            return 0
        same = (lines - (middle - _BAR_LEVELS)).view(np.uint16) <= 2 * _BAR_LEVELS
        inside = np.count_nonzero(same, axis=1) >= share * len(edge)
    return len(lines) if inside.all() else int(inside.argmin())
