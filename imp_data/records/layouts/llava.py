"""LLaVA's own layout, a JSON array or JSON Lines: mix665k, ShareGPT4V, ALLaVA and most since."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from types import NoneType
from typing import Any, NotRequired

import numpy as np
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.manifests import Source
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
from imp_data.records.layouts.subsets import subset_of
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
    Draft,
    RejectedRecord,
    UpstreamRecord,
)
from imp_data.storage.image_paths import add_prefix, normalize_path

# TypedDicts, not models: pydantic checks them at half the cost, and most fields pass unchanged.
# `from` is a keyword, hence the functional form.
_Turn = TypedDict("_Turn", {"from": str, "value": str})


class _Record(TypedDict):
    conversations: list[_Turn]
    id: NotRequired[Any]
    idx: NotRequired[Any]  # the key in ALLaVA's text file
    image: NotRequired[str | None]


class _MultiImageRecord(TypedDict):
    """A record of a source with several images a record, after `_list_images`."""

    conversations: list[_Turn]
    id: NotRequired[Any]
    idx: NotRequired[Any]
    images: list[str]


_ADAPTER: TypeAdapter[_Record] = TypeAdapter(_Record)
_MULTI_IMAGE_ADAPTER: TypeAdapter[_MultiImageRecord] = TypeAdapter(_MultiImageRecord)
_REQUIRED = frozenset(_Record.__required_keys__)
_IMAGE_FIELDS = ("image", "images")
_FIELDS = LayoutFields(
    read=frozenset(_Record.__annotations__),
    # The text beside an image on the web (ALLaVA); the turns contain what is asked about it.
    ignored=COMMON_IGNORED | {"original_caption"},
    parts={"conversations": frozenset(_Turn.__annotations__)},
)
_MULTI_IMAGE_FIELDS = _FIELDS._replace(read=_FIELDS.read | {"images"})


def _form(source: Source) -> tuple[TypeAdapter[Any], LayoutFields]:
    """Return the type and the fields of the source's records."""
    if source.max_images == 1:
        return _ADAPTER, _FIELDS
    return _MULTI_IMAGE_ADAPTER, _MULTI_IMAGE_FIELDS


def _assemble(rows: list[UpstreamRecord], source: Source) -> Iterator[Draft | RejectedRecord]:
    """Make one Draft per record."""
    for row in parse_rows(rows):
        yield row if isinstance(row, RejectedRecord) else _draft(row, source)


def _draft(row: UpstreamRecord, source: Source) -> Draft | RejectedRecord:
    identity = set_upstream_id(row, "id", "idx")
    adapter, fields = _form(source)
    if source.max_images > 1:
        row.value = _list_images(row.value)
    elif too_many := _unlist_image(row):
        return RejectedRecord(row, too_many)
    record = validate(adapter, row)
    if isinstance(record, RejectedRecord):
        return record
    ignored = check_unread_fields(row.value, fields, source)
    if isinstance(ignored, Verdict):
        return RejectedRecord(row, ignored)
    row.ignored_fields = ignored
    turns = [(turn["from"], turn["value"]) for turn in record["conversations"]]
    images = _images_of(row, turns)
    question = next((value for speaker, value in turns if speaker == "human"), "")
    first = images[0] if images else None
    subset = subset_of(source.subsets, normalize_path(first) if first else first, question)
    return Draft([row], identity or "", subset, _prefix_images(images, source), turns)


def _list_images(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with its images as a list under `images`, from that field or `image`.

    Values of another type stay, and so do both fields where both have images: validation rejects
    them.
    """
    given = {name: record[name] for name in _IMAGE_FIELDS if record.get(name) is not None}
    rest = {name: value for name, value in record.items() if name not in _IMAGE_FIELDS}
    images = next(iter(given.values())) if len(given) == 1 else given or []
    return {**rest, "images": [images] if isinstance(images, str) else images}


def _prefix_images(images: Sequence[str], source: Source) -> tuple[str, ...]:
    return tuple(add_prefix(source.image_prefix, image) if image else image for image in images)


def _unlist_image(row: UpstreamRecord) -> Verdict | None:
    """Replace a list of one image by that image; trainers that accept several write such lists.

    Return the verdict on a list of several.
    """
    match row.value.get("image"):
        case []:
            row.value["image"] = ""
        case [str(image)]:
            row.value["image"] = image
            row.repairs.append(
                AppliedRepair(Repair.IMAGE_UNLISTED, json.dumps([image], ensure_ascii=False))
            )
        case [*images] if all(isinstance(image, str) for image in images):
            return Verdict(Reason.TOO_MANY_IMAGES, {"images": len(images), "most": 1})
    return None


def _images_of(row: UpstreamRecord, turns: list[tuple[str, str]]) -> list[str]:
    """Return the record's images; drop an empty path that no `<image>` refers to."""
    image: str | None = row.value.get("image")
    images: list[str] = row.value.get("images", [] if image is None else [image])
    if any(image.strip() for image in images) or any(IMAGE_TOKEN in value for _, value in turns):
        return images
    row.repairs += [AppliedRepair(Repair.EMPTY_IMAGE_REMOVED, image) for image in images]
    return []


def _columns(chunk: Chunk, source: Source) -> DraftColumns:
    """Return Drafts of the records of the layout's form in which human and gpt alternate."""
    records = load_elements(list(read_elements(chunk)))
    if source.max_images > 1:
        records = [_list_images(one) if isinstance(one, dict) else one for one in records]
    try:
        return _build_columns(records, np.arange(len(records)), chunk.ordinals, source)
    except LAYOUT_ERRORS:
        rows = [row for row, record in enumerate(records) if _is_regular(record, source)]
        some = [records[row] for row in rows]
        return _build_columns(some, np.array(rows, np.int64), chunk.ordinals, source)


def _is_regular(record: Any, source: Source) -> bool:
    adapter, fields = _form(source)
    if not is_valid(adapter, record) or isinstance(
        check_unread_fields(record, fields, source), Verdict
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
    images = _image_columns(records, source)
    ids = [_identity(record) for record in records]
    alternating = [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
    if not (alternating and (counts > 0).all() and (counts % 2 == 0).all()):
        raise TypeError("human and gpt do not alternate")
    if not {*map(type, texts)} <= {str}:
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
            subset_of(source.subsets, some[0] if some else None, texts[first])
            for some, first in zip(images, firsts, strict=True)
        ],
        [_prefix_images(some, source) for some in images],
        counts,
        texts,
        expand_to_rows(find_ignored_fields(records, _form(source)[1], source), rows, len(ordinals)),
    )


def _image_columns(records: list[Any], source: Source) -> list[Sequence[str]]:
    """Return the images of each record; raise TypeError if one is not text."""
    if source.max_images == 1:
        single = [record.get("image") for record in records]
        if not {*map(type, single)} <= {str, NoneType}:
            raise TypeError("not text")
        return [() if image is None else (image,) for image in single]
    images = [record["images"] for record in records]
    if not ({*map(type, images)} <= {list} and {*map(type, chain(*images))} <= {str}):
        raise TypeError("not a list of text")
    return images


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
