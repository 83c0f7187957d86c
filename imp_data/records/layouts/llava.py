"""LLaVA's own layout, a JSON array or JSON Lines: mix665k, ShareGPT4V, ALLaVA and most since."""

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
    Layout,
    chunk_records,
    list_record_files,
    ordinal_id,
    parse_rows,
    read_elements,
    read_groups,
    set_upstream_id,
    validate,
)
from imp_data.records.layouts.columnar import LAYOUT_ERRORS, DraftColumns, is_valid, load_elements
from imp_data.records.layouts.unread_fields import (
    COMMON_IGNORED,
    LayoutFields,
    check_unread_fields,
    expand_to_rows,
    find_ignored_fields,
)
from imp_data.records.record_chunk import Chunk
from imp_data.sample import (
    IMAGE_TOKEN,
    OPTION_LETTER_SUFFIX,
    SHORT_ANSWER_SUFFIX,
    Draft,
    RejectedRecord,
    UpstreamRecord,
)
from imp_data.storage.image_paths import normalize_path

# TypedDicts, not models: pydantic checks them at half the cost, and most fields pass unchanged.
# `from` is a keyword, hence the functional form.
_Turn = TypedDict("_Turn", {"from": str, "value": str})


class _Record(TypedDict):
    conversations: list[_Turn]
    id: NotRequired[Any]
    idx: NotRequired[Any]  # the key in ALLaVA's text file
    image: NotRequired[str | None]


_ADAPTER: TypeAdapter[_Record] = TypeAdapter(_Record)
_REQUIRED = frozenset(_Record.__required_keys__)
_FIELDS = LayoutFields(
    read=frozenset(_Record.__annotations__),
    # The text beside an image on the web (ALLaVA); the turns contain what is asked about it.
    ignored=COMMON_IGNORED | {"original_caption"},
    parts={"conversations": frozenset(_Turn.__annotations__)},
)


def _assemble(rows: list[UpstreamRecord], source: Source) -> Iterator[Draft | RejectedRecord]:
    """Make one Draft per record."""
    for row in parse_rows(rows):
        yield row if isinstance(row, RejectedRecord) else _draft(row, source)


def _draft(row: UpstreamRecord, source: Source) -> Draft | RejectedRecord:
    identity = set_upstream_id(row, "id", "idx")
    _unlist_image(row)
    record = validate(_ADAPTER, row)
    if isinstance(record, RejectedRecord):
        return record
    ignored = check_unread_fields(row.value, _FIELDS, source)
    if isinstance(ignored, Verdict):
        return RejectedRecord(row, ignored)
    row.ignored_fields = ignored
    turns = [(turn["from"], turn["value"]) for turn in record["conversations"]]
    image = _image_of(row, turns)
    question = next((value for speaker, value in turns if speaker == "human"), "")
    subset = subset_of(source.subsets, normalize_path(image) if image else image, question)
    where = source.image_prefix + image if image else image
    return Draft([row], identity or "", subset, where, turns)


def _unlist_image(row: UpstreamRecord) -> None:
    """Replace a list of one image by that image; trainers that accept several write such lists."""
    match row.value.get("image"):
        case []:
            row.value["image"] = ""
        case [str(image)]:
            row.value["image"] = image
            row.repairs.append(
                AppliedRepair(Repair.IMAGE_UNLISTED, json.dumps([image], ensure_ascii=False))
            )


def _image_of(row: UpstreamRecord, turns: list[tuple[str, str]]) -> str | None:
    """Return the record's image; drop an empty path that no `<image>` refers to."""
    image: str | None = row.value.get("image")
    if image is None or image.strip() or any(IMAGE_TOKEN in value for _, value in turns):
        return image
    row.repairs.append(AppliedRepair(Repair.EMPTY_IMAGE_REMOVED, image))
    return None


def _columns(chunk: Chunk, source: Source) -> DraftColumns:
    """Return Drafts of the records of the layout's form in which human and gpt alternate."""
    records = load_elements(list(read_elements(chunk)))
    try:
        return _build_columns(records, np.arange(len(records)), chunk.ordinals, source)
    except LAYOUT_ERRORS:
        rows = [row for row, record in enumerate(records) if _is_regular(record, source)]
        some = [records[row] for row in rows]
        return _build_columns(some, np.array(rows, np.int64), chunk.ordinals, source)


def _is_regular(record: Any, source: Source) -> bool:
    if not is_valid(_ADAPTER, record) or isinstance(
        check_unread_fields(record, _FIELDS, source), Verdict
    ):
        return False
    if not {type(record[name]) for name in ("id", "idx") if name in record} <= {str, int}:
        return False
    speakers = [turn["from"] for turn in record["conversations"]]
    return bool(speakers) and speakers == ["human", "gpt"] * (len(speakers) // 2)


def _build_columns(
    records: list[Any], rows: Offsets, ordinals: Offsets, source: Source
) -> DraftColumns:
    """Return these records as Drafts; raise one of LAYOUT_ERRORS if a record is in doubt.

    `ordinals` holds the ordinals of all records of the chunk, `rows` the positions of `records`.
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
        row_ids[row] = ordinal_id(int(ordinals[row])) if identity is None else identity
    firsts = (np.cumsum(counts) - counts).tolist()
    return DraftColumns(
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
        expand_to_rows(find_ignored_fields(records, _FIELDS, source), rows, len(ordinals)),
    )


def _identity(record: dict[str, Any]) -> str | None:
    named = [record[field] for field in ("id", "idx") if field in record]
    if not {*map(type, named)} <= {str, int}:
        raise TypeError("no id")
    return str(named[0]) if named else None


LAYOUT = Layout(
    chunks=lambda folder, source, limits: chunk_records(
        list_record_files(folder, source), _REQUIRED, limits
    ),
    groups=read_groups,
    assemble=_assemble,
    fields=_FIELDS,
    columns=_columns,
)


def subset_of(rule: SubsetRule, image: str | None, question: str) -> str:
    """Return the sub-source of a record, by its image path and its first question."""
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
    """Return the sub-source of a llava_v1_5_mix665k record, by its path and prompt wording.

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
    # OCR-VQA, GQA and VG have one form each: the directory decides, whatever the question.
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
    """Return the directory of a ShareGPT4V image, as one word."""
    steps = image.split("/")
    family = steps[1] if steps[0] == "llava" and len(steps) > 1 else steps[0]
    return family.replace("-", "_")
