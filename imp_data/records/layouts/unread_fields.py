"""Decide about fields that a layout does not read: ignore and count them, or drop the record.

A field without meaning for training, by its name or because it is empty, is ignored. Any other
unread field drops the record (`unread_field`): it might be a second image, a video or a system
prompt, and a record without it teaches something else. `ignore_fields` in a source's manifest
lists further fields to ignore.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Source
from imp_data.records.json_array.spans import Offsets

_PREVIEW_CHARACTERS = 80

# A record's name and origin.
_ORIGIN = {"id", "idx", "index", "uid", "uuid", "sample_id", "question_id", "image_id", "page_id"}
_ORIGIN |= {"source", "data_source", "dataset", "dataset_name", "subset", "split", "origin", "url"}
# Its author, date and licence.
_MAKING = {"model", "model_name", "annotator", "generator", "author", "license", "version"}
_MAKING |= {"timestamp", "date", "created", "created_at", "updated_at", "metadata", "meta"}
# Its classification and measurements.
_SORTING = {"type", "category", "categories", "task", "task_name", "topic", "domain", "tags"}
_SORTING |= {"language", "lang", "difficulty", "score", "scores", "rating", "quality", "similarity"}
_SORTING |= {"width", "height", "image_width", "image_height", "image_size", "aspect_ratio"}
_SORTING |= {"md5", "sha256", "hash", "phash", "num_turns", "num_tokens", "token_count", "length"}
COMMON_IGNORED = frozenset(_ORIGIN | _MAKING | _SORTING)

# Numbers and booleans cannot hold words or images, but under these names they steer training.
_STEERING = frozenset({"weight", "weights", "loss", "loss_weight", "loss_mask", "mask", "train"})


class LayoutFields(NamedTuple):
    """The fields that a layout reads, and those without meaning for training.

    `parts` lists the fields that it reads of the objects in a list: {"conversations": …}.
    """

    read: frozenset[str]
    ignored: frozenset[str] = COMMON_IGNORED
    parts: Mapping[str, frozenset[str]] = {}


def list_unread_fields(
    record: dict[str, Any], fields: LayoutFields, source: Source
) -> Iterator[tuple[str, Any, bool]]:
    """Yield each unread field: its name, its value, and whether it drops the record."""
    allowed = fields.ignored.union(source.ignore_fields)
    for name in record:
        if name not in fields.read:
            yield name, record[name], name not in allowed and may_matter(name, record[name])
    for part, read in fields.parts.items():
        for name, value in _fields_of(record.get(part)):
            if name not in read:
                whole = f"{part}.{name}"
                yield whole, value, whole not in source.ignore_fields and may_matter(name, value)


def _fields_of(parts: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of the objects in a list; none if a form has another column instead."""
    objects = parts if isinstance(parts, list) else []
    return chain.from_iterable(part.items() for part in objects if isinstance(part, dict))


def may_matter(name: str, value: Any) -> bool:
    """Return whether the field may hold something that training needs."""
    if isinstance(value, bool | int | float):
        return name.lower() in _STEERING
    return bool(value.strip() if isinstance(value, str) else value)


def check_unread_fields(
    record: dict[str, Any], fields: LayoutFields, source: Source
) -> Verdict | tuple[str, ...]:
    """Return the verdict that drops the record, or the names of its ignored fields."""
    passed: dict[str, None] = {}
    for name, value, costs in list_unread_fields(record, fields, source):
        if costs:
            return Verdict(Reason.UNREAD_FIELD, {"field": name, "found": preview(value)})
        passed[name] = None
    return tuple(passed)


def preview(value: object) -> str:
    """Return the beginning of a value, as evidence."""
    try:
        return repr(value)[:_PREVIEW_CHARACTERS]
    except RecursionError:
        return f"{type(value).__name__} in {type(value).__name__}, nested too deeply to be shown"


def find_ignored_fields(
    records: Sequence[dict[str, Any]], fields: LayoutFields, source: Source
) -> Sequence[tuple[str, ...]] | None:
    """Return the ignored fields of each record; None if no record has any.

    Raises TypeError if a field drops its record. The objects in `parts` must have all the fields
    that are read, and are examined only if they have more.
    """
    strange = set[str]().union(*records) - fields.read
    if all(_has_only(records, part, read) for part, read in fields.parts.items()):
        if not strange:
            return None
        if strange <= fields.ignored.union(source.ignore_fields):
            return [tuple(strange.intersection(record)) for record in records]
    found = [check_unread_fields(record, fields, source) for record in records]
    if any(isinstance(one, Verdict) for one in found):
        raise TypeError("a field that is not read")
    return [one for one in found if not isinstance(one, Verdict)]


def expand_to_rows(
    passed: Sequence[tuple[str, ...]] | None, rows: Offsets, size: int
) -> Sequence[tuple[str, ...]] | None:
    """Expand the ignored fields of some rows of a chunk to a list for all its rows."""
    if passed is None:
        return None
    found: list[tuple[str, ...]] = [()] * size
    for row, names in zip(rows.tolist(), passed, strict=True):
        found[row] = names
    return found


def _has_only(records: Sequence[dict[str, Any]], part: str, read: frozenset[str]) -> bool:
    sizes = map(len, chain.from_iterable(record.get(part) or () for record in records))
    return {*sizes} <= {len(read)}
