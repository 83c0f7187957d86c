"""Tell charts, pages and other drawn images from photographs by their grey levels."""

import numpy as np

from imp_data.images.copy_detection.grey import Grey

# Paper, ink and fills take few levels: of 64, the six most frequent have 65 % of the pixels or
# more in 94 % of 626 scanned receipts, in 99.5 % of 209 charts, and in 4 % of 1,500 photographs:
# those of an object before an even background.
_LEVELS, _FREQUENT = 64, 6
DOCUMENT_PERCENT = 65


def frequent_level_percent(square: Grey) -> int:
    """Return the share of pixels that have the six most frequent of 64 levels, rounded down."""
    counts = np.bincount((square // (256 // _LEVELS)).ravel(), minlength=_LEVELS)
    frequent = int(np.sort(counts)[-_FREQUENT:].sum())
    return frequent * 100 // square.size


def is_document_like(percent: int) -> bool:
    """Return whether an image with this `frequent_level_percent` is document-like.

    A document-like image has siblings (another page, another chart of the template) that no hash
    and no small image tells from a copy of it.
    """
    return percent >= DOCUMENT_PERCENT
