"""Records of the LLaVA mix with unusual or broken images."""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from PIL import Image

from demo.annotations.questions import Exchange, short_exchanges
from demo.drawing.album import cover, encoded, open_image, seeded
from demo.faults.damaged_records import coco_id, photo, photo_file
from demo.faults.planted import Case, indented
from demo.sources.llava import (
    cover_exchanges,
    imaged,
    isbn,
    vg,
    vg_number,
)
from imp_data.ledger import Reason
from imp_data.sample import SHORT_ANSWER_SUFFIX

_EXIF_ORIENTATION = 0x0112
# How an image is stored whose orientation says that it is to be turned before it is shown.
_STORED_AS: Final = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
_ANSWERED = b"<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"


def turned(data: bytes, orientation: int) -> bytes:
    """The image stored on its side, with an EXIF orientation that says so."""
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = orientation
    return encoded(open_image(data).transpose(_STORED_AS[orientation]), exif=exif.tobytes())


def _cmyk(data: bytes) -> bytes:
    return encoded(open_image(data).convert("CMYK"))


def _rgba_png(data: bytes) -> bytes:
    """Transparent towards its lower edge."""
    image = open_image(data).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").rotate(180).resize(image.size))
    return encoded(image, "PNG")


def _sixteen_bit_png(data: bytes) -> bytes:
    grey = np.asarray(open_image(data).convert("L"), dtype=np.uint16) * 257
    return encoded(Image.fromarray(grey), "PNG")


def _gif(data: bytes) -> bytes:
    return encoded(open_image(data), "GIF")


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _of_a_pixel(_: bytes) -> bytes:
    return encoded(Image.new("RGB", (1, 1), (255, 255, 255)), "GIF")


def _photo_case(
    what: str,
    place: int,
    fate: Reason | None,
    because: str,
    change: Callable[[bytes], bytes] | None,
) -> Case:
    """A COCO record whose image's file is changed, or not there without a change."""

    def files() -> dict[str, bytes]:
        return {p: change(data) for p, data in photo_file(place).items()} if change else {}

    make = partial(photo, place)
    return Case(what, coco_id(place), fate, because, make, "llava_instruct", files)


def _book_case(
    what: str, n: int, fate: Reason | None, because: str, change: Callable[[bytes], bytes]
) -> Case:
    path = f"ocr_vqa/images/{isbn(n)}.jpg"

    def make(opening: str) -> bytes:
        exchanges = cover_exchanges(cover("ocr_vqa", n).facts, seeded("ocr_vqa", n))
        return _opened_with(opening, isbn(n), path, exchanges)

    files = lambda: {path: change(cover("ocr_vqa", n).data)}  # noqa: E731
    return Case(what, isbn(n), fate, because, make, "ocr_vqa", files)


def _vg_case(
    what: str,
    n: int,
    path: str,
    fate: Reason | None,
    because: str,
    change: Callable[[bytes], bytes],
) -> Case:
    def make(opening: str) -> bytes:
        exchanges = short_exchanges(vg(n).facts, seeded("planted vg", n))[:4]
        return _opened_with(opening, str(vg_number(n)), path, exchanges)

    subset = path.split("/", 1)[0]
    files = lambda: {path: change(vg(n).data)}  # noqa: E731
    return Case(what, str(vg_number(n)), fate, because, make, subset, files)


def _opened_with(opening: str, identity: str, path: str, exchanges: list[Exchange]) -> bytes:
    (question, answer), *others = exchanges
    asked = [(opening + question, answer), *others]
    return indented(imaged(identity, path, asked, suffix=SHORT_ANSWER_SUFFIX))


_ORIENTED = "Boxes and answers refer to the picture as it is stored, which is how LLaVA reads it."
_AS_IT_IS = "A picture is what its bytes say, whatever its name or mode."

IMAGES: Final = (
    _book_case("a GIF that is named .jpg", 210, None, _AS_IT_IS, _gif),
    _photo_case("a JPEG in CMYK", 340, None, _AS_IT_IS, _cmyk),
    _book_case("a PNG with transparency", 211, None, _AS_IT_IS, _rgba_png),
    _vg_case(
        "a PNG of 16 bits",
        340,
        f"gqa/images/{vg_number(340)}.jpg",
        None,
        _AS_IT_IS,
        _sixteen_bit_png,
    ),
    *(
        _photo_case(
            f"an EXIF orientation of {orientation}",
            350 + orientation,
            None,
            _ORIENTED,
            partial(turned, orientation=orientation),
        )
        for orientation in _STORED_AS
    ),
    _photo_case(
        "a picture that is not there",
        341,
        Reason.IMAGE_MISSING,
        "Its archive has no such file, and a question without its picture teaches guessing.",
        None,
    ),
    _photo_case(
        "a JPEG that ends in its middle",
        342,
        Reason.IMAGE_TRUNCATED,
        "Half of the picture would be grey.",
        _cut,
    ),
    _vg_case(
        "a picture of no bytes",
        341,
        f"vg/VG_100K_2/{vg_number(341)}.jpg",
        Reason.IMAGE_EMPTY,
        "VG_100K_2 has 170 such files upstream.",
        lambda _: b"",
    ),
    _book_case(
        "a picture of a single pixel",
        212,
        Reason.IMAGE_TOO_SMALL,
        "A shop answers so where it has no cover; nothing can be seen in it.",
        _of_a_pixel,
    ),
    _book_case(
        "a web page that is named .jpg",
        213,
        Reason.IMAGE_UNDECODABLE,
        "An address that no longer has its picture answered with a page.",
        lambda _: _ANSWERED,
    ),
)
