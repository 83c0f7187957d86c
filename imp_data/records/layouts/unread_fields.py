"""What becomes of a record's fields that its layout does not read: counted, or the record goes.

A field is read; or it carries no meaning for training, by its name or because nothing is in it; or
it costs the record (`unread_field`): what cannot be read might be its second image, its video or
its system prompt, and a record without them teaches something else. `ignore_fields` in a source's
manifest says which more fields carry no meaning.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Source
from imp_data.records.json_array.spans import Offsets

_SHOWN_CHARACTERS = 80

# What a record is called, and where it comes from.
_ORIGIN = {"id", "idx", "index", "uid", "uuid", "sample_id", "question_id", "image_id", "page_id"}
_ORIGIN |= {"source", "data_source", "dataset", "dataset_name", "subset", "split", "origin", "url"}
# Who or what made it, when, and on what terms.
_MAKING = {"model", "model_name", "annotator", "generator", "author", "license", "version"}
_MAKING |= {"timestamp", "date", "created", "created_at", "updated_at", "metadata", "meta"}
# How somebody sorted or measured it.
_SORTING = {"type", "category", "categories", "task", "task_name", "topic", "domain", "tags"}
_SORTING |= {"language", "lang", "difficulty", "score", "scores", "rating", "quality", "similarity"}
_SORTING |= {"width", "height", "image_width", "image_height", "image_size", "aspect_ratio"}
_SORTING |= {"md5", "sha256", "hash", "phash", "num_turns", "num_tokens", "token_count", "length"}
COMMON = frozenset(_ORIGIN | _MAKING | _SORTING)

# Numbers and truth values cannot hold words or images; under these names they steer training.
_STEERING = frozenset({"weight", "weights", "loss", "loss_weight", "loss_mask", "mask", "train"})


class Keys(NamedTuple):
    """The fields that a layout reads, and those that carry no meaning for training.

    `parts` has the same of the objects in one of the fields: {"conversations": …}.
    """

    read: frozenset[str]
    meaningless: frozenset[str] = COMMON
    parts: Mapping[str, frozenset[str]] = {}


def unread(record: dict[str, Any], keys: Keys, source: Source) -> Iterator[tuple[str, Any, bool]]:
    """Each field that is not read: its name, its value, and whether it costs the record."""
    allowed = keys.meaningless.union(source.ignore_fields)
    for name in record:
        if name not in keys.read:
            yield name, record[name], name not in allowed and _matters(name, record[name])
    for part, read in keys.parts.items():
        for name, value in _fields_of(record[part]):
            if name not in read:
                whole = f"{part}.{name}"
                yield whole, value, whole not in source.ignore_fields and _matters(name, value)


def _fields_of(parts: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    return chain.from_iterable(part.items() for part in parts)


def _matters(name: str, value: Any) -> bool:
    """Whether something is in the field that training might need."""
    if isinstance(value, bool | int | float):
        return name.lower() in _STEERING
    return bool(value.strip() if isinstance(value, str) else value)


def verdict_on(record: dict[str, Any], keys: Keys, source: Source) -> Verdict | tuple[str, ...]:
    """Why the record goes; or the fields that were passed over."""
    passed: dict[str, None] = {}
    for name, value, costs in unread(record, keys, source):
        if costs:
            return Verdict(Reason.UNREAD_FIELD, {"field": name, "found": shown(value)})
        passed[name] = None
    return tuple(passed)


def shown(value: object) -> str:
    """The beginning of a value, as evidence."""
    try:
        return repr(value)[:_SHOWN_CHARACTERS]
    except RecursionError:
        return f"{type(value).__name__} in {type(value).__name__}, nested too deeply to be shown"


def passed_over(
    records: Sequence[dict[str, Any]], keys: Keys, source: Source
) -> Sequence[tuple[str, ...]] | None:
    """Of each record the fields that are not read; None where all are.

    Raises TypeError if one of them costs a record. Parts are looked at where they have more fields
    than are read; those that are read must be there.
    """
    strange = set[str]().union(*records) - keys.read
    if all(_has_no_more(records, part, read) for part, read in keys.parts.items()):
        if not strange:
            return None
        if strange <= keys.meaningless.union(source.ignore_fields):
            return [tuple(strange.intersection(record)) for record in records]
    found = [verdict_on(record, keys, source) for record in records]
    if any(isinstance(one, Verdict) for one in found):
        raise TypeError("a field that is not read")
    return [one for one in found if not isinstance(one, Verdict)]


def over_rows(
    passed: Sequence[tuple[str, ...]] | None, rows: Offsets, size: int
) -> Sequence[tuple[str, ...]] | None:
    """What `passed_over` found of these rows of a chunk, as a list of all its rows."""
    if passed is None:
        return None
    found: list[tuple[str, ...]] = [()] * size
    for row, names in zip(rows.tolist(), passed, strict=True):
        found[row] = names
    return found


def _has_no_more(records: Sequence[dict[str, Any]], part: str, read: frozenset[str]) -> bool:
    sizes = map(len, chain.from_iterable(record[part] for record in records))
    return {*sizes} <= {len(read)}
