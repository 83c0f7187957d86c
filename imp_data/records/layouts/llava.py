"""LLaVA's own form, a JSON array or JSON Lines: mix665k, ShareGPT4V, ALLaVA and most since."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from types import NoneType
from typing import Any, NotRequired

import numpy as np
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from imp_data.ledger import AppliedRepair, Repair, Verdict
from imp_data.manifests import Source, SubsetRule
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.base import (
    Chunk,
    Layout,
    chunk_groups,
    elements,
    name_row,
    place_id,
    read_rows,
    record_files,
    single_chunks,
    validated,
)
from imp_data.records.layouts.columnar import MISREAD, Plain, fits, loaded
from imp_data.records.layouts.unread_fields import COMMON, Keys, over_rows, passed_over, verdict_on
from imp_data.sample import (
    IMAGE_TOKEN,
    OPTION_LETTER_SUFFIX,
    SHORT_ANSWER_SUFFIX,
    Draft,
    Refused,
    Row,
)
from imp_data.storage.image_paths import normal_path

# TypedDicts, not models: pydantic checks them at half the cost, and most fields are passed on.
# `from` is a keyword, hence the functional form.
_Turn = TypedDict("_Turn", {"from": str, "value": str})


class _Record(TypedDict):
    conversations: list[_Turn]
    id: NotRequired[Any]
    idx: NotRequired[Any]  # ALLaVA's text file says idx
    image: NotRequired[str | None]


_ADAPTER: TypeAdapter[_Record] = TypeAdapter(_Record)
_REQUIRED = frozenset(_Record.__required_keys__)
_KEYS = Keys(
    read=frozenset(_Record.__annotations__),
    # The text that stood beside an image on the web (ALLaVA): what was asked of it is in the turns.
    meaningless=COMMON | {"original_caption"},
    parts={"conversations": frozenset(_Turn.__annotations__)},
)


def _assemble(rows: list[Row], source: Source) -> Iterator[Draft | Refused]:
    """One Draft a record."""
    for row in read_rows(rows):
        yield row if isinstance(row, Refused) else _draft(row, source)


def _draft(row: Row, source: Source) -> Draft | Refused:
    identity = name_row(row, "id", "idx")
    _unlist_image(row)
    record = validated(_ADAPTER, row)
    if isinstance(record, Refused):
        return record
    over = verdict_on(row.value, _KEYS, source)
    if isinstance(over, Verdict):
        return Refused(row, over)
    row.passed_over = over
    turns = [(turn["from"], turn["value"]) for turn in record["conversations"]]
    image = _named_image(row, turns)
    question = next((value for speaker, value in turns if speaker == "human"), "")
    subset = subset_of(source.subsets, normal_path(image) if image else image, question)
    where = source.image_prefix + image if image else image
    return Draft([row], identity or "", subset, where, turns)


def _unlist_image(row: Row) -> None:
    """A list of one image is that image, as in the data of trainers that take several."""
    match row.value.get("image"):
        case []:
            row.value["image"] = ""
        case [str(image)]:
            row.value["image"] = image
            row.mends.append(
                AppliedRepair(Repair.IMAGE_UNLISTED, json.dumps([image], ensure_ascii=False))
            )


def _named_image(row: Row, turns: list[tuple[str, str]]) -> str | None:
    """The record's image; an empty path to which no `<image>` refers names none."""
    image: str | None = row.value.get("image")
    if image is None or image.strip() or any(IMAGE_TOKEN in value for _, value in turns):
        return image
    row.mends.append(AppliedRepair(Repair.EMPTY_IMAGE_REMOVED, image))
    return None


def _plain(chunk: Chunk, source: Source) -> Plain:
    """Records of the layout's form in which human and gpt alternate."""
    records = loaded(list(elements(chunk)))
    try:
        return _side_by_side(records, np.arange(len(records)), chunk.ordinals, source)
    except MISREAD:
        rows = [row for row, record in enumerate(records) if _is_plain(record, source)]
        some = [records[row] for row in rows]
        return _side_by_side(some, np.array(rows, np.int64), chunk.ordinals, source)


def _is_plain(record: Any, source: Source) -> bool:
    if not fits(_ADAPTER, record) or isinstance(verdict_on(record, _KEYS, source), Verdict):
        return False
    if not {type(record[name]) for name in ("id", "idx") if name in record} <= {str, int}:
        return False
    speakers = [turn["from"] for turn in record["conversations"]]
    return bool(speakers) and speakers == ["human", "gpt"] * (len(speakers) // 2)


def _side_by_side(records: list[Any], rows: Offsets, ordinals: Offsets, source: Source) -> Plain:
    """These records as Drafts; an error of MISREAD if one of them is not plain.

    `ordinals` has the place of every row of the chunk, `rows` which of them these records are.
    """
    counts = np.array([len(record["conversations"]) for record in records], np.int64)
    turns = list(chain.from_iterable(record["conversations"] for record in records))
    texts = [turn["value"] for turn in turns]
    images = [record.get("image") for record in records]
    ids = [_identity(record) for record in records]
    alternating = [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
    if not (alternating and (counts > 0).all() and (counts % 2 == 0).all()):
        raise TypeError("human and gpt do not alternate")
    if not ({*map(type, texts)} <= {str} and {*map(type, images)} <= {str, NoneType}):
        raise TypeError("not text")
    draft_of, row_ids = np.full(len(ordinals), -1), list[str | None]([None]) * len(ordinals)
    draft_of[rows] = np.arange(len(rows))
    for row, identity in zip(rows.tolist(), ids, strict=True):
        row_ids[row] = place_id(int(ordinals[row])) if identity is None else identity
    firsts = (np.cumsum(counts) - counts).tolist()
    return Plain(
        draft_of,
        row_ids,
        [identity or "" for identity in ids],
        [
            subset_of(source.subsets, image, texts[first])
            for image, first in zip(images, firsts, strict=True)
        ],
        [source.image_prefix + image if image else image for image in images],
        counts,
        texts,
        over_rows(passed_over(records, _KEYS, source), rows, len(ordinals)),
    )


def _identity(record: dict[str, Any]) -> str | None:
    named = [record[field] for field in ("id", "idx") if field in record]
    if not {*map(type, named)} <= {str, int}:
        raise TypeError("no id")
    return str(named[0]) if named else None


LAYOUT = Layout(
    chunks=lambda folder, source, limits: single_chunks(
        record_files(folder, source), _REQUIRED, limits
    ),
    groups=chunk_groups,
    assemble=_assemble,
    keys=_KEYS,
    plain=_plain,
)


def subset_of(rule: SubsetRule, image: str | None, question: str) -> str:
    """The finer origin of a record, by its image's path and its first question."""
    match rule:
        case "mix665k":
            return _mix665k(image, question)
        case "allava":
            return _allava(image) if image else "text"
        case "image_family":
            return _image_family(image or "")
        case _:
            return ""


# Subsets whose text holds boxes, normalised on the image padded to a square.
REGION_SUBSETS = frozenset({"refcoco", "vg"})
_BOX_PROMPT = "Please provide the bounding box coordinate of the region this sentence describes:"
_REGION_PROMPT = "Please provide a short description for this region:"
_SHORT_ANSWERS = {"coco": "vqav2_okvqa", "gqa": "gqa", "ocr_vqa": "ocr_vqa"}


def _mix665k(image: str | None, question: str) -> str:
    """The sub-source of a llava_v1_5_mix665k record, by the signs its makers left.

    Counts of the pinned revision by these rules: haotian-liu/LLaVA, issues 702 and 657. VQAv2 and
    OKVQA share images and wording, so they cannot be told apart.
    """
    if image is None:
        return "sharegpt"
    family = image.split("/", 1)[0]
    if family == "textvqa":
        return "textcaps"
    text = question.replace("<image>", "").strip()
    if text.startswith((_BOX_PROMPT, _REGION_PROMPT)):
        return "vg" if family == "vg" else "refcoco"
    if text.endswith(OPTION_LETTER_SUFFIX):
        return "a_okvqa"
    if text.endswith(SHORT_ANSWER_SUFFIX) and family in _SHORT_ANSWERS:
        return _SHORT_ANSWERS[family]
    # OCR-VQA, GQA and VG have one form each: whatever the question, the folder tells.
    return {"gqa": "gqa", "ocr_vqa": "ocr_vqa", "vg": "vg"}.get(family, "llava_instruct")


def _allava(image: str) -> str:
    """`laion`, or `vflan:<task>`: Vision-FLAN's files are named <task>_<number>_<original name>.

    Some tasks end in a digit (`visdial+answer_question_9`), some files lack the number.
    """
    if image.startswith("allava_laion/"):
        return "laion"
    task = re.match(r"(.+?(?:_\d(?=_\d+_))?)_(?:\d+_|COCO_)", image.rsplit("/", 1)[-1])
    return f"vflan:{task.group(1) if task else 'other'}"


def _image_family(image: str) -> str:
    """The folder a ShareGPT4V image comes from, as one word."""
    steps = image.split("/")
    family = steps[1] if steps[0] == "llava" and len(steps) > 1 else steps[0]
    return family.replace("-", "_")
