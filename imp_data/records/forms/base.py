"""Define forms: how one record, a dict of columns, becomes a conversation and its images.

A form is a set of pure functions. They read no file, and a record that they cannot read is a
Verdict, which names the field.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any, NamedTuple

from imp_data.ledger import AppliedRepair, Reason, Verdict
from imp_data.records.layouts.base import wrong_type_verdict
from imp_data.records.layouts.unread_fields import LayoutFields, may_matter, preview
from imp_data.sample import EmbeddedImage

Turn = tuple[str, str]  # speaker and text


ImageRef = str | EmbeddedImage  # a str is a path or a URL, as published


class Conversation(NamedTuple):
    """One record as a conversation.

    A speaker is system, human, gpt or tool. `<image>` stands in a text where an image goes.
    `dropped_turns` counts the exchanges of question and answer that `min_ratings` dropped.
    """

    upstream_id: str | None
    images: list[ImageRef]
    turns: list[Turn]
    subset: str = ""
    repairs: tuple[AppliedRepair, ...] = ()
    dropped_turns: int = 0


class FormSettings(NamedTuple):
    """What a source's manifest states about the form of its records.

    `columns` maps a role to the name of its column. `prompts` are questions for bare captions.
    `min_ratings` maps a rating to its minimum. `suffix` (short_answer or option_letter, or the
    wording itself) is appended to each question. `wording` is llava to replace known wordings.
    """

    columns: Mapping[str, str] = {}
    prompts: tuple[str, ...] = ()
    min_ratings: Mapping[str, int] = {}
    suffix: str = ""
    wording: str = ""


Reader = Callable[[dict[str, Any], FormSettings, int], Conversation | Verdict]


class Form(NamedTuple):
    """The functions of one form.

    `read` takes a record, the settings and the record's ordinal, and never raises. `fields` returns
    the fields that `read` reads, and those without meaning. `recognises` returns whether a record
    has this form.
    """

    read: Reader
    fields: Callable[[FormSettings], LayoutFields]
    recognises: Callable[[dict[str, Any]], bool]


class RecordError(Exception):
    """A fault of a record; `form_reader` returns its verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


def form_reader(
    read: Callable[[dict[str, Any], FormSettings, int], Conversation],
) -> Reader:
    """Return a reader that returns the verdict of a RecordError."""

    @wraps(read)
    def reader(
        record: dict[str, Any], settings: FormSettings, ordinal: int
    ) -> Conversation | Verdict:
        try:
            return read(record, settings, ordinal)
        except RecordError as error:
            return error.verdict

    return reader


def wrong_type(field: str, problem: str, found: Any) -> RecordError:
    """Return the error of a field that does not have the type of its form."""
    return RecordError(wrong_type_verdict(field, problem, found))


def unread_field(field: str, found: Any) -> RecordError:
    """Return the error of a field that is not read and may matter."""
    return RecordError(Verdict(Reason.UNREAD_FIELD, {"field": field, "found": preview(found)}))


# The names of each role's column, the first that is there counts. A role that is not listed has
# its own name.
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": (
        *("id", "idx", "question_id", "questionId", "sample_id", "uid", "uuid", "message_id"),
        *("index", "key", "__key__"),
    ),
    "conversations": ("conversations", "conversation"),
    "question": ("question", "query"),
    "answer": ("answer", "multiple_choice_answer", "label"),
    "options": ("options", "choices"),
    "answer_index": ("correct_choice_idx", "answer_index"),
    "hint": ("hint", "context"),
    "split": ("data_split",),
    "caption": ("caption", "text", "txt"),
    "system": ("system", "system_prompt"),
}


def column_names(settings: FormSettings, *roles: str) -> tuple[str, ...]:
    """Return the names that the columns of these roles may have."""
    return _column_names(roles, tuple(settings.columns.items()))


@lru_cache(maxsize=256)  # the same few questions for each record
def _column_names(roles: tuple[str, ...], columns: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    stated = dict(columns)
    names = list[str]()
    for role in roles:
        names += (stated[role],) if role in stated else COLUMN_NAMES.get(role, (role,))
    return tuple(dict.fromkeys(names))


def choose_field(value: Mapping[str, Any], names: Sequence[str], where: str = "") -> str | None:
    """Return the first of these names whose field is not null; None if all are absent or null.

    Raises RecordError if another of these fields has a different value: one of them would be lost.
    """
    present = [name for name in names if value.get(name) is not None]
    if not present:
        return None
    for other in present[1:]:
        if value[other] != value[present[0]] and may_matter(other, value[other]):
            raise unread_field(f"{where}{other}", value[other])
    return present[0]


def read_text(value: Any, field: str) -> str:
    """Return a text; raise RecordError if it is none."""
    if isinstance(value, str):
        return value
    raise wrong_type(field, "is null" if value is None else "should be text", value)


def read_list(value: Any, field: str) -> list[Any]:
    """Return a list; raise RecordError if it is none, or empty."""
    if not isinstance(value, list):
        raise wrong_type(field, "should be a list", value)
    if not value:
        raise RecordError(Verdict(Reason.NO_TURNS, {"field": field}))
    return value
