"""Recognize one photograph under the names that different datasets give it.

COCO's, Visual Genome's and Open Images' photographs are in many datasets. Most of these keep the id
in the file's name: COCO's image 37 is `COCO_val2014_000000000037.jpg`, `train2017/000000000037.jpg`
and, in Vision-FLAN, `VQAv2_81_COCO_train2014_000000000037.jpg`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from imp_data.manifests import ImageIdKind


class _Collection(NamedTuple):
    """How a collection's ids look.

    `in_path` finds an id in the path of an image, or `alone` matches it as a list of ids states it;
    group 1 is the id, and `canonical` its one spelling.
    """

    in_path: re.Pattern[str]
    alone: re.Pattern[str]
    canonical: Callable[[str], str]


def _twelve_digits(digits: str) -> str:
    return digits.zfill(12)


def _without_zeros(digits: str) -> str:
    return digits.lstrip("0") or "0"


_COLLECTIONS: dict[ImageIdKind, _Collection] = {
    # All releases of COCO number their images alike, up to 581,929, in twelve digits: those of
    # train2014 and val2014 keep their numbers in train2017 and val2017.
    "coco": _Collection(
        re.compile(r"(?<![0-9])(000000[0-9]{6})(?![0-9])(?=[^/]*\Z)"),
        re.compile(r"([0-9]{1,12})\Z"),
        _twelve_digits,
    ),
    # GQA has Visual Genome's images under their numbers, in folders of these names in LLaVA's mix;
    # Vision-FLAN puts the name of its task and a counter in front.
    "visual_genome": _Collection(
        re.compile(
            r"(?:(?:\A|/)(?:VG_100K(?:_2)?|gqa/images|gqa)/"
            r"|(?:\A|/)(?:GQA|visualgenome_vqa)_[0-9]+_)"
            r"([0-9]{1,7})\.[A-Za-z]{3,4}\Z"
        ),
        re.compile(r"([0-9]{1,7})\Z"),
        _without_zeros,
    ),
    # The images of GQA's test sets are not Visual Genome's; an n marks their numbers.
    "gqa_test": _Collection(
        re.compile(r"(?<![0-9A-Za-z])(n[0-9]{4,7})(?![0-9])(?=[^/]*\Z)"),
        re.compile(r"(n[0-9]{4,7})\Z"),
        str,
    ),
    # Other collections (Google Landmarks) have ids of the same look, so only listed ids count.
    "openimages": _Collection(
        re.compile(r"(?<![0-9a-f])([0-9a-f]{16})(?![0-9a-f])(?=[^/]*\Z)"),
        re.compile(r"([0-9a-f]{16})\Z"),
        str,
    ),
    "vizwiz": _Collection(
        re.compile(r"(VizWiz_(?:train|val|test)_[0-9]{8})(?![0-9])(?=[^/]*\Z)"),
        re.compile(r"(VizWiz_(?:train|val|test)_[0-9]{8})\Z"),
        str,
    ),
}


def find_identities(path: str, kinds: Iterable[ImageIdKind]) -> Iterator[str]:
    """Yield the identities, such as `coco:000000000037`, that an image's path may state."""
    for kind in kinds:
        collection = _COLLECTIONS[kind]
        for found in collection.in_path.findall(path):
            yield f"{kind}:{collection.canonical(found)}"


def identity_of(stated: str, kind: ImageIdKind) -> str | None:
    """Return the identity of an id as a benchmark states it: alone, or in a file name."""
    collection = _COLLECTIONS[kind]
    if alone := collection.alone.match(stated):
        return f"{kind}:{collection.canonical(alone[1])}"
    with_ending = stated if "." in stated.rsplit("/", 1)[-1] else f"{stated}.jpg"
    return next(find_identities(with_ending, [kind]), None)
