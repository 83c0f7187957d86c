"""Describe an image for copy detection: boxes, two hashes of each, a thumbnail, its kind."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from imp_data.images.copy_detection.boxes import Box, find_boxes
from imp_data.images.copy_detection.document_like import frequent_level_percent
from imp_data.images.copy_detection.grey import SIDE_PX, Grey, deviation, halve, reduce_grey
from imp_data.images.copy_detection.hashes import Region, region_hashes
from imp_data.images.copy_detection.thumbnail import encode_thumbnail
from imp_data.images.phash import strips

# Below this deviation, in grey levels, an image is nearly empty and never matches by its look.
LEAST_DEVIATION = 4.0

FEATURES_TYPE = pa.struct(
    [
        pa.field("boxes", pa.list_(pa.list_(pa.uint8(), 4))),
        pa.field("phashes", pa.list_(pa.uint64())),
        pa.field("block_hashes", pa.list_(pa.uint64())),
        pa.field("thumbnail", pa.binary()),
        pa.field("aspect_percent", pa.int32()),
        pa.field("deviation", pa.float64()),
        pa.field("frequent_level_percent", pa.uint8()),
    ]
)


class ImageFeatures(NamedTuple):
    """What copy detection knows of an image; no other threshold needs the image again.

    `boxes` are regions in 1/128 of the sides, the whole image first, with a hash of both kinds
    each; `thumbnail` is 64x64 grey pixels as `encode_thumbnail` packs them; `aspect_percent` is
    the width by the height; `deviation` is that of the grey levels, to a tenth. A nearly empty
    image has no boxes. `frequent_level_percent` is what `is_document_like` judges.
    """

    boxes: tuple[Box, ...]
    phashes: tuple[int, ...]
    block_hashes: tuple[int, ...]
    thumbnail: bytes
    aspect_percent: int
    deviation: float
    frequent_level_percent: int


def describe_image(
    grey: Image.Image | Grey, extent: tuple[float, float] | None = None
) -> ImageFeatures:
    """Describe a grey image, uint8[height, width] or a Pillow image, of any size.

    Both sides should have 120 pixels or more. `extent` is the part of it that is image, as
    `reduce_grey` takes it. Images of other modes are converted to grey.
    """
    if isinstance(grey, Image.Image) and grey.mode != "L":
        grey = np.concatenate(list(strips(grey)))
    size = grey.size if isinstance(grey, Image.Image) else grey.shape[::-1]
    width, height = extent or size
    square = reduce_grey(grey, extent)
    small = halve(square)
    spread = deviation(small)
    boxes = find_boxes(square) if spread >= LEAST_DEVIATION else ()
    boxes = tuple(box for n, box in enumerate(boxes) if n == 0 or _has_content(square, box))
    hashes = [region_hashes(square[None], box_region(box)) for box in boxes]
    return ImageFeatures(
        boxes,
        tuple(int(phash[0]) for phash, _ in hashes),
        tuple(int(blocks[0]) for _, blocks in hashes),
        encode_thumbnail(small),
        round(100 * width / height),
        spread,
        frequent_level_percent(square),
    )


def box_region(box: Box) -> Region:
    """Return the box in shares of the sides."""
    return Region(*(place / SIDE_PX for place in box))


def _has_content(square: Grey, box: Box) -> bool:
    inside = square[box.top : box.bottom, box.left : box.right]
    return deviation(inside) >= LEAST_DEVIATION
