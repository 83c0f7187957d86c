"""Copies of TextVQA's images under other names, and other faults, in ShareGPT4V and ALLaVA."""

from collections.abc import Callable
from functools import partial
from typing import Final

from demo.annotations.captions import explained
from demo.drawing.album import DrawnImage, encoded, hexadecimal, open_image, scene, seeded
from demo.drawing.scenes import Scene
from demo.faults.llava_images import turned
from demo.faults.planted import Case, Result, indented, with_raw_newline
from demo.sources import textvqa
from demo.sources.archives import json_bytes
from demo.sources.captions import reencoded
from demo.sources.llava import imaged
from imp_data.ledger import Reason, Repair

_Change = Callable[[bytes], bytes]
_resaved: Final[_Change] = partial(reencoded, quality=50)
_halved: Final[_Change] = partial(reencoded, quality=85, scale=0.5)


def _unchanged(data: bytes) -> bytes:
    return data


def _as_png(data: bytes) -> bytes:
    return encoded(open_image(data), "PNG")


def _half_a_png(data: bytes) -> bytes:
    png = _as_png(data)
    return png[: len(png) // 2]


def _image(name: int | str) -> DrawnImage[Scene]:
    """Return the TextVQA image of that number, or another image of that name."""
    return textvqa.photo(name) if isinstance(name, int) else scene("planted", name)


def _files(path: str, image: int | str, change: _Change | None) -> dict[str, bytes]:
    return {path: change(_image(image).data)} if change else {}


def _shared(
    what: str, folder: str, name: str, image: int | str, result: Result, change: _Change | None
) -> Case:
    """Return a caption record of ShareGPT4V; without a change the image file is missing."""
    path = f"{folder}/{name}.jpg"
    identity = name.rsplit("/", 1)[-1]

    def make() -> bytes:
        exchange = ("What is this photo about?", _image(image).facts.description())
        return json_bytes(imaged(identity, path, [exchange]))

    subset = path.split("/")[1 if path.startswith("llava/") else 0].replace("-", "_")
    return Case(what, identity, result, make, subset, partial(_files, path, image, change))


# TextVQA's list has the id in a file name (BENCHMARK_ID), or the image is one of TextVQA under
# another name (BENCHMARK_BYTES), or is alike (BENCHMARK_HASH).
SHAREGPT4V: Final = (
    _shared(
        "a training image of TextVQA, saved again under its own name",
        *("share_textvqa/images", textvqa.image_id(3), 3, Reason.BENCHMARK_ID, _resaved),
    ),
    _shared(
        "a validation image of TextVQA, halved in size under its own name",
        *("share_textvqa/images", textvqa.image_id(24), 24, Reason.BENCHMARK_ID, _halved),
    ),
    _shared(
        "a validation image of TextVQA, saved again among the celebrities",
        *("web-celebrity/images", "901", 22, Reason.BENCHMARK_HASH, _resaved),
    ),
    _shared(
        "a test image of TextVQA, halved in size among the paintings",
        *("wikiart/images", "902", 29, Reason.BENCHMARK_HASH, _halved),
    ),
    _shared(
        "a training image of TextVQA, unchanged among LLaVA's web images",
        *("llava/llava_pretrain/images", "00903/009030001", 7),
        *(Reason.BENCHMARK_BYTES, _unchanged),
    ),
    # Sixteen hexadecimal digits prove nothing unless TextVQA's list has them.
    _shared(
        "a landmark whose name has the form of TextVQA's",
        *("web-landmark/images", hexadecimal(16, "google landmarks", 0), "landmark"),
        *(None, _unchanged),
    ),
    # Upstream publishes records and images apart.
    _shared(
        "an image of SAM that is missing",
        *("sam/images", "sa_999904", "sam", Reason.IMAGE_MISSING, None),
    ),
)


def _instructed(
    subset: str, identity: str, path: str, case: tuple[str, int | str, Result, _Change | None]
) -> Case:
    """Return a record of ALLaVA-Instruct."""
    what, image, result, change = case

    def make() -> bytes:
        exchange = explained(_image(image).facts, seeded("planted", path))
        element = indented(imaged(identity, path, [exchange]))
        return with_raw_newline(element, exchange[1]) if isinstance(result, Repair) else element

    return Case(what, identity, result, make, subset, partial(_files, path, image, change))


def _on_laion(
    n: int, ending: str, what: str, image: int | str, result: Result, change: _Change | None
) -> Case:
    path = f"allava_laion/images/{101_000_000 + n}.{ending}"
    identity = f"allava_laion_inst_{101_000_000 + n}"
    return _instructed("laion", identity, path, (what, image, result, change))


LAION: Final = (
    _on_laion(
        *(1, "jpeg", "an image of TextVQA, saved again on a web page"),
        *(12, Reason.BENCHMARK_HASH, _resaved),
    ),
    _on_laion(
        *(2, "jpeg", "an image of TextVQA, halved in size on a web page"),
        *(25, Reason.BENCHMARK_HASH, _halved),
    ),
    _on_laion(3, "png", "an image of TextVQA as a PNG", 30, Reason.BENCHMARK_HASH, _as_png),
    # Turned as its EXIF orientation says, it is alike to an image of TextVQA.
    _on_laion(
        *(4, "jpeg", "an image of TextVQA stored on its side, with an EXIF orientation"),
        *(26, Reason.BENCHMARK_HASH, partial(turned, orientation=6)),
    ),
    _on_laion(
        *(5, "jpeg", "an image of TextVQA, unchanged on a web page"),
        *(14, Reason.BENCHMARK_BYTES, _unchanged),
    ),
    _on_laion(6, "jpeg", "a web image that is missing", "dead link", Reason.IMAGE_MISSING, None),
    _on_laion(7, "png", "a PNG without its end", "png", Reason.IMAGE_TRUNCATED, _half_a_png),
    # JSON forbids it, but its meaning is clear; ALLaVA's own sample has one.
    _on_laion(
        8, "jpeg", "a raw line break inside an answer", "raw", Repair.RAW_CONTROL, _unchanged
    ),
)


def _on_vflan(
    n: int, task: str, image: int | str, result: Result, change: _Change, what: str
) -> Case:
    digits = textvqa.image_id(image) if isinstance(image, int) else hexadecimal(16, image, 0)
    path = f"allava_vflan/images/images_191task_1k/{task}_{n}_{digits}.jpg"
    identity = f"allava_vflan_inst_{900_000 + n}"
    return _instructed(f"vflan:{task}", identity, path, (what, image, result, change))


VFLAN: Final = (
    _on_vflan(
        *(1, "textcaps+caption_generation", 9, Reason.BENCHMARK_ID, _resaved),
        "an image of TextCaps in Vision-FLAN, saved again",
    ),
    _on_vflan(
        *(2, "LOC_NARRATIVES+open_images_caption", 27, Reason.BENCHMARK_ID, _halved),
        "a validation image of TextVQA in Vision-FLAN's Open Images",
    ),
    _on_vflan(
        *(3, "NOCAPS+image_caption", "nocaps", None, _unchanged),
        "an image of Open Images that TextVQA does not have",
    ),
)
