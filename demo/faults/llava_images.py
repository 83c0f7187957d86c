"""Records of the LLaVA mix with unusual or broken images."""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from PIL import Image

from demo.annotations.questions import short_exchanges
from demo.drawing.album import cover, encoded, open_image, seeded
from demo.faults.llava_records import photo_file, photo_record
from demo.faults.planted import Case, Result, indented
from demo.sources.llava import book_record, coco_id, imaged, isbn, vg, vg_number
from imp_data.ledger import Reason
from imp_data.sample import SHORT_ANSWER_SUFFIX

_Change = Callable[[bytes], bytes]
_EXIF_ORIENTATION = 0x0112
# EXIF orientation → the transposition of the stored pixels that it undoes.
_STORED_AS: Final = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
_WEB_PAGE = b"<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"
_PIXEL = encoded(Image.new("RGB", (1, 1), (255, 255, 255)), "GIF")
_BOOK_WITH_X = next(n for n in range(200, 300) if isbn(n).endswith("X"))


def turned(data: bytes, orientation: int) -> bytes:
    """Store an image rotated, with the EXIF orientation that turns it upright."""
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = orientation
    return encoded(open_image(data).transpose(_STORED_AS[orientation]), exif=exif.tobytes())


def _cmyk(data: bytes) -> bytes:
    return encoded(open_image(data).convert("CMYK"))


def _rgba_png(data: bytes) -> bytes:
    """Convert to a PNG that is transparent towards its lower edge."""
    image = open_image(data).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").rotate(180).resize(image.size))
    return encoded(image, "PNG")


def _sixteen_bit_png(data: bytes) -> bytes:
    grey = np.asarray(open_image(data).convert("L"), dtype=np.uint16) * 257
    return encoded(Image.fromarray(grey), "PNG")


def _photo(what: str, index: int, result: Result, change: _Change | None) -> Case:
    """Return a COCO record whose image file is changed, or missing without a change."""

    def files() -> dict[str, bytes]:
        return {p: change(data) for p, data in photo_file(index).items()} if change else {}

    def make() -> bytes:
        return indented(photo_record(index))

    return Case(what, coco_id(index), result, make, "llava_instruct", files)


def _book(what: str, n: int, result: Result, change: _Change) -> Case:
    def files() -> dict[str, bytes]:
        return {f"ocr_vqa/images/{isbn(n)}.jpg": change(cover("ocr_vqa", n).data)}

    return Case(what, isbn(n), result, lambda: indented(book_record(n)), "ocr_vqa", files)


def _vg(what: str, n: int, folder: str, result: Result, change: _Change) -> Case:
    identity = str(vg_number(n))
    path = f"{folder}/{identity}.jpg"

    def make() -> bytes:
        exchanges = short_exchanges(vg(n).facts, seeded("planted vg", n))[:4]
        return indented(imaged(identity, path, exchanges, suffix=SHORT_ANSWER_SUFFIX))

    subset = folder.split("/")[0]
    return Case(what, identity, result, make, subset, lambda: {path: change(vg(n).data)})


IMAGES: Final = (
    # An id is text: the check digit of an ISBN may be an X.
    _book("an ISBN that ends in X", _BOOK_WITH_X, None, lambda data: data),
    # The bytes decide what an image is, whatever its name or mode.
    _book("a GIF that is named .jpg", 210, None, lambda data: encoded(open_image(data), "GIF")),
    _photo("a JPEG in CMYK", 340, None, _cmyk),
    _book("a PNG with transparency", 211, None, _rgba_png),
    _vg("a PNG of 16 bits", 340, "gqa/images", None, _sixteen_bit_png),
    # Boxes and answers refer to the image as it is stored, because LLaVA reads it so.
    *(
        _photo(f"an EXIF orientation of {n}", 350 + n, None, partial(turned, orientation=n))
        for n in _STORED_AS
    ),
    _photo("an image that is missing", 341, Reason.IMAGE_MISSING, None),
    _photo("a JPEG without its second half", 342, Reason.IMAGE_TRUNCATED, lambda data: data[:4000]),
    # VG_100K_2 has 170 such files upstream.
    _vg("an image of no bytes", 341, "vg/VG_100K_2", Reason.IMAGE_EMPTY, lambda _: b""),
    # A shop sends it in place of a missing cover.
    _book("an image of a single pixel", 212, Reason.IMAGE_TOO_SMALL, lambda _: _PIXEL),
    # A server sends it in place of a deleted image.
    _book("a web page that is named .jpg", 213, Reason.IMAGE_UNDECODABLE, lambda _: _WEB_PAGE),
)
