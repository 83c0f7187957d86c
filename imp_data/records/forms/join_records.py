"""Join the records of one image into one Draft of several turns."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from imp_data.ledger import AppliedRepair, Repair, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.forms.assemble import append_suffix
from imp_data.records.forms.base import FormSettings, Turn, column_names, wrong_type
from imp_data.records.forms.group_keys import key_value
from imp_data.records.forms.images import image_columns
from imp_data.records.forms.wording import keep_first_suffixes
from imp_data.records.layouts.base import set_upstream_id
from imp_data.records.rules import repair_and_check
from imp_data.sample import IMAGE_TOKEN, Draft, EmbeddedImage, RejectedRecord, UpstreamRecord
from imp_data.storage.embedded_names import split_embedded

# The length of a conversation is that of all records of the image together.
_ANY_LENGTH = Limits(max_turns=2**62, max_characters=2**62)
_EXTRA_SPEAKERS = ("system", "tool")

ReadDraft = Callable[[UpstreamRecord, FormSettings], Draft | RejectedRecord]


class _Part(NamedTuple):
    """One record of an image: its Draft, its system prompt, and its turns without image tokens.

    `alone` is whether its tokens have to stay where they are, so that it cannot be joined.
    """

    draft: Draft
    system: str
    turns: list[Turn]
    alone: bool


class _Key(NamedTuple):
    """What the records of one Draft have in common; `alone` is the ordinal of one by itself."""

    values: tuple[str, ...]
    paths: tuple[str, ...] | None
    system: str
    alone: int | None


def join_records(
    rows: Sequence[UpstreamRecord], read: ReadDraft, settings: FormSettings, source: Source
) -> Iterator[Draft | RejectedRecord]:
    """Yield one Draft of the records of an image, in upstream order; a faulty record falls alone.

    The image is that of the first record that has one, the suffix goes to the first question.
    Records of different system prompts, or with paths of different images, are not joined.
    """
    parts: dict[_Key, list[_Part]] = {}
    for row in rows:
        keys = _read_keys(row, settings, source)
        if isinstance(keys, Verdict):
            set_upstream_id(row, *column_names(settings, "id"))
            yield RejectedRecord(row, keys)
            continue
        part = _read_part(row, read, settings, source)
        if isinstance(part, RejectedRecord):
            yield part
            continue
        alone = row.ordinal if part.alone else None
        parts.setdefault(_Key(keys, _paths(part), part.system, alone), []).append(part)
    for key, some in _adopt_imageless(parts).items():
        yield _join(some, key.values, settings)


def _read_keys(
    row: UpstreamRecord, settings: FormSettings, source: Source
) -> tuple[str, ...] | Verdict:
    """Return the values of the columns that identify the image, as text; images left out.

    A null image is none, as everywhere; a null in another column is a verdict.
    """
    names = [name for name in source.group_by if not _is_image(name, row, settings)]
    for name in names:
        if key_value(row.value.get(name)) is None:
            problem = "is null" if name in row.value else "is missing"
            return wrong_type(name, f"{problem}, and group_by names it", None).verdict
    return tuple(str(key_value(row.value[name])) for name in names)


def _is_image(name: str, row: UpstreamRecord, settings: FormSettings) -> bool:
    value = row.value.get(name)
    first = value[0] if isinstance(value, list) and value else value
    return name in image_columns(settings) or isinstance(first, EmbeddedImage)


def _read_part(
    row: UpstreamRecord, read: ReadDraft, settings: FormSettings, source: Source
) -> _Part | RejectedRecord:
    draft = read(row, settings._replace(suffix=""))
    if isinstance(draft, RejectedRecord):
        return draft
    verdict = repair_and_check(draft, _ANY_LENGTH, source.max_images, _EXTRA_SPEAKERS)
    if verdict is not None:
        return RejectedRecord(row, verdict)
    system = draft.turns[0][1] if draft.turns[0][0] == "system" else ""
    turns = draft.turns[1:] if system else draft.turns
    tokens = f"{IMAGE_TOKEN}\n" * len(draft.images)
    question = turns[0][1].removeprefix(tokens)
    bare = [("human", question), *turns[1:]]
    return _Part(draft, system, bare, any(IMAGE_TOKEN in text for _, text in bare))


def _paths(part: _Part) -> tuple[str, ...] | None:
    """Return the images of a record that are files of their own; None if they stand in its file."""
    images = part.draft.images
    return None if not images or split_embedded(images[0]) else images


def _adopt_imageless(parts: dict[_Key, list[_Part]]) -> dict[_Key, list[_Part]]:
    """Join records without an image to the first ones of the same kind that have one."""
    homes: dict[_Key, _Key] = {}
    for key, some in parts.items():
        if any(part.draft.images for part in some):
            homes.setdefault(key._replace(paths=None), key)
    joined: dict[_Key, list[_Part]] = {}
    for key, some in parts.items():
        has_image = any(part.draft.images for part in some)
        home = key if has_image else homes.get(key._replace(paths=None), key)
        joined.setdefault(home, []).extend(some)
    for some in joined.values():
        some.sort(key=lambda part: part.draft.rows[0].ordinal)
    return joined


def _join(parts: Sequence[_Part], keys: Sequence[str], settings: FormSettings) -> Draft:
    first = parts[0].draft
    for number, part in enumerate(parts):
        # Only the first question has tokens.
        added = [r for r in part.draft.repairs if not number or r.repair is not Repair.TOKEN_ADDED]
        part.draft.rows[0].repairs += added
    images = next((part.draft.images for part in parts if part.draft.images), ())
    identity = "_".join(keys) or first.upstream_id
    turns = first.turns if parts[0].alone else _join_turns(parts, len(images), settings)
    rows = [part.draft.rows[0] for part in parts]
    return Draft(rows, identity, first.subset, images, append_suffix(turns, settings.suffix))


def _join_turns(parts: Sequence[_Part], images: int, settings: FormSettings) -> list[Turn]:
    turns = list[Turn]()
    seen = set[str]()
    for part in parts:
        kept = keep_first_suffixes(part.turns, seen) if settings.wording else part.turns
        lost = next((t for (_, t), (_, k) in zip(part.turns, kept, strict=True) if t != k), None)
        repairs = part.draft.rows[0].repairs
        if lost and all(one.repair is not Repair.WORDING_REPLACED for one in repairs):
            repairs.append(AppliedRepair(Repair.WORDING_REPLACED, lost))
        turns += kept
    turns[0] = ("human", f"{IMAGE_TOKEN}\n" * images + turns[0][1])
    return [("system", parts[0].system), *turns] if parts[0].system else turns
