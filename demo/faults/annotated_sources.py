"""TextVQA's images under other names, and other troubles, in ShareGPT4V and ALLaVA."""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from demo.annotations.captions import explained
from demo.drawing.album import DrawnImage, encoded, hexadecimal, open_image, scene, seeded
from demo.drawing.scenes import Scene
from demo.faults.damaged_records import with_raw_newline
from demo.faults.llava_images import turned
from demo.faults.planted import Case, indented
from demo.sources import textvqa
from demo.sources.archives import json_bytes
from demo.sources.captions import reencoded
from demo.sources.llava import imaged
from imp_data.ledger import Reason, Repair

_Change = Callable[[bytes], bytes]
_SAVED_AGAIN: Final[_Change] = partial(reencoded, quality=50)
_HALVED: Final[_Change] = partial(reencoded, quality=85, scale=0.5)
_BY_ID = "TextVQA's own list has the id that the file name carries."
_BY_LOOK = "Its name tells nothing, but it looks like a picture of TextVQA."
_BY_BYTES = "It is a file of TextVQA under another name."
_NOT_LISTED = "Sixteen hex digits alone prove nothing: TextVQA's list does not have these."
_GONE = "The record is there, its picture is not: upstream published them apart."


class _Row(NamedTuple):
    """A record on one image; `change` makes its file, None where there is none."""

    what: str
    subset: str
    path: str
    image: Callable[[], DrawnImage[Scene]]
    fate: Reason | Repair | None
    because: str
    change: _Change | None

    def files(self) -> dict[str, bytes]:
        return {self.path: self.change(self.image().data)} if self.change else {}


def _of_textvqa(place: int) -> Callable[[], DrawnImage[Scene]]:
    return partial(textvqa.photo, place)


def _other(name: str) -> Callable[[], DrawnImage[Scene]]:
    return partial(scene, "planted", name)


def _as_it_is(data: bytes) -> bytes:
    return data


def _as_png(data: bytes) -> bytes:
    return encoded(open_image(data), "PNG")


def _half_a_png(data: bytes) -> bytes:
    return _as_png(data)[:20_000]


_SHAREGPT4V: Final = (
    _Row(
        "a training picture of TextVQA, saved again under its own name",
        "share_textvqa",
        f"share_textvqa/images/{textvqa.image_id(3)}.jpg",
        _of_textvqa(3),
        Reason.BENCHMARK_ID,
        _BY_ID,
        _SAVED_AGAIN,
    ),
    _Row(
        "a validation picture of TextVQA, halved in size under its own name",
        "share_textvqa",
        f"share_textvqa/images/{textvqa.image_id(24)}.jpg",
        _of_textvqa(24),
        Reason.BENCHMARK_ID,
        _BY_ID,
        _HALVED,
    ),
    _Row(
        "a validation picture of TextVQA, saved again among the celebrities",
        "web_celebrity",
        "web-celebrity/images/901.jpg",
        _of_textvqa(22),
        Reason.BENCHMARK_HASH,
        _BY_LOOK,
        _SAVED_AGAIN,
    ),
    _Row(
        "a test picture of TextVQA, halved in size among the paintings",
        "wikiart",
        "wikiart/images/902.jpg",
        _of_textvqa(29),
        Reason.BENCHMARK_HASH,
        _BY_LOOK,
        _HALVED,
    ),
    _Row(
        "a training picture of TextVQA, unchanged among LLaVA's web pictures",
        "llava_pretrain",
        "llava/llava_pretrain/images/00903/009030001.jpg",
        _of_textvqa(7),
        Reason.BENCHMARK_BYTES,
        _BY_BYTES,
        _as_it_is,
    ),
    _Row(
        "a landmark whose name is made like TextVQA's",
        "web_landmark",
        f"web-landmark/images/{hexadecimal(16, 'google landmarks', 0)}.jpg",
        _other("landmark"),
        None,
        _NOT_LISTED,
        _as_it_is,
    ),
    _Row(
        "a picture of SAM that is not there",
        "sam",
        "sam/images/sa_999904.jpg",
        _other("sam"),
        Reason.IMAGE_MISSING,
        _GONE,
        None,
    ),
)

_LAION: Final = (
    _Row(
        "a picture of TextVQA, saved again on a web page",
        "laion",
        "allava_laion/images/101000001.jpeg",
        _of_textvqa(12),
        Reason.BENCHMARK_HASH,
        _BY_LOOK,
        _SAVED_AGAIN,
    ),
    _Row(
        "a picture of TextVQA, halved in size on a web page",
        "laion",
        "allava_laion/images/101000002.jpeg",
        _of_textvqa(25),
        Reason.BENCHMARK_HASH,
        _BY_LOOK,
        _HALVED,
    ),
    _Row(
        "a picture of TextVQA as a PNG",
        "laion",
        "allava_laion/images/101000003.png",
        _of_textvqa(30),
        Reason.BENCHMARK_HASH,
        _BY_LOOK,
        _as_png,
    ),
    _Row(
        "a picture of TextVQA stored on its side, to be turned upright by its EXIF",
        "laion",
        "allava_laion/images/101000004.jpeg",
        _of_textvqa(26),
        Reason.BENCHMARK_HASH,
        "Turned as its EXIF says it looks like a picture of TextVQA.",
        partial(turned, orientation=6),
    ),
    _Row(
        "a picture of TextVQA, unchanged on a web page",
        "laion",
        "allava_laion/images/101000005.jpeg",
        _of_textvqa(14),
        Reason.BENCHMARK_BYTES,
        _BY_BYTES,
        _as_it_is,
    ),
    _Row(
        "a web picture that is not there",
        "laion",
        "allava_laion/images/101000006.jpeg",
        _other("dead link"),
        Reason.IMAGE_MISSING,
        _GONE,
        None,
    ),
    _Row(
        "a PNG that ends too early",
        "laion",
        "allava_laion/images/101000007.png",
        _other("png"),
        Reason.IMAGE_TRUNCATED,
        "Part of the picture is lost.",
        _half_a_png,
    ),
    _Row(
        "a raw line break inside an answer",
        "laion",
        "allava_laion/images/101000008.jpeg",
        _other("raw"),
        Repair.RAW_CONTROL,
        "JSON forbids it, but its meaning is plain; ALLaVA's own sample has one.",
        _as_it_is,
    ),
)

_VFLAN: Final = (
    _Row(
        "a picture of TextCaps in Vision-FLAN, saved again",
        "vflan:textcaps+caption_generation",
        f"textcaps+caption_generation_412_{textvqa.image_id(9)}.jpg",
        _of_textvqa(9),
        Reason.BENCHMARK_ID,
        _BY_ID,
        _SAVED_AGAIN,
    ),
    _Row(
        "a validation picture of TextVQA in Vision-FLAN's Open Images",
        "vflan:LOC_NARRATIVES+open_images_caption",
        f"LOC_NARRATIVES+open_images_caption_77_{textvqa.image_id(27)}.jpg",
        _of_textvqa(27),
        Reason.BENCHMARK_ID,
        _BY_ID,
        _HALVED,
    ),
    _Row(
        "a picture of Open Images that TextVQA does not have",
        "vflan:NOCAPS+image_caption",
        f"NOCAPS+image_caption_905_{hexadecimal(16, 'nocaps', 0)}.jpg",
        _other("nocaps"),
        None,
        _NOT_LISTED,
        _as_it_is,
    ),
)


def _caption(row: _Row, opening: str) -> bytes:
    image = row.image()
    question = f"{opening}What is this photo about?"
    record = imaged(_name(row.path), row.path, [(question, image.facts.description())])
    return json_bytes(record)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".jpg")


def _answer(row: _Row, identity: str, opening: str) -> bytes:
    question, answer = explained(row.image().facts, seeded("planted", row.path))
    element = indented(imaged(identity, row.path, [(opening + question, answer)]))
    return with_raw_newline(element, answer) if row.fate is Repair.RAW_CONTROL else element


def _case(row: _Row, identity: str, make: Callable[[str], bytes]) -> Case:
    return Case(row.what, identity, row.fate, row.because, make, row.subset, row.files)


def _vflan_row(row: _Row) -> _Row:
    return row._replace(path=f"allava_vflan/images/images_191task_1k/{row.path}")


def _allava(row: _Row, part: str, number: int) -> Case:
    identity = f"allava_{part}_inst_{number}"
    return _case(row, identity, partial(_answer, row, identity))


SHAREGPT4V: Final = tuple(
    _case(row, _name(row.path), partial(_caption, row)) for row in _SHAREGPT4V
)
LAION: Final = tuple(_allava(row, "laion", 101_000_001 + n) for n, row in enumerate(_LAION))
VFLAN: Final = tuple(_allava(_vflan_row(row), "vflan", 900_001 + n) for n, row in enumerate(_VFLAN))
