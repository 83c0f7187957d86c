"""The form `messages`: OpenAI's messages of strings or parts, TRL's prompt and completion.

Records of an instruction and its answer (ms-swift, LLaMA-Factory) are of this form too;
`instructions.py` reads them.
"""

from typing import Any

from imp_data.records.forms import instructions
from imp_data.records.forms.assemble import assemble, required_field
from imp_data.records.forms.base import (
    Conversation,
    Form,
    FormSettings,
    choose_field,
    column_names,
    form_reader,
)
from imp_data.records.forms.conversations import read_turn_list
from imp_data.records.forms.images import image_columns, read_images
from imp_data.records.forms.turns import (
    TURN_FIELDS,
    is_dialogue,
    match_images,
    read_dialogue,
    read_system,
)
from imp_data.records.layouts.unread_fields import COMMON_IGNORED, LayoutFields

_COLUMNS = ("messages",)
_HALVES = ("prompt", "completion")


@form_reader
def read(record: dict[str, Any], settings: FormSettings, ordinal: int) -> Conversation:
    """Read a record of messages, of a prompt and its completion, or of an instruction."""
    name = choose_field(record, column_names(settings, *_COLUMNS))
    halves = column_names(settings, *_HALVES)
    if name is None and any(isinstance(record.get(half), list) for half in halves):
        return _read_halves(record, settings, halves)
    if name is None and instructions.find_columns(record, settings):
        return instructions.read_pairs(record, settings)
    instructions.check_others(record, settings, ())
    return read_turn_list(record, settings, required_field(record, settings, *_COLUMNS))


def _read_halves(
    record: dict[str, Any], settings: FormSettings, halves: tuple[str, ...]
) -> Conversation:
    """Return the Conversation of TRL's prompt and completion, two lists of messages."""
    instructions.check_others(record, settings, halves)
    read = [read_dialogue(record.get(name), name) for name in halves]
    turns = read_system(record, settings, [turn for some, _ in read for turn in some])
    column, repairs = read_images(record, settings)
    images = match_images(column, [image for _, parts in read for image in parts], halves[0])
    return assemble(record, settings, images, turns, repairs=repairs)


def fields(settings: FormSettings) -> LayoutFields:
    """Return the fields of a record and of a message."""
    lists = column_names(settings, *_COLUMNS, *_HALVES)
    others = column_names(settings, *instructions.ROLES, "system", "id", "subset")
    return LayoutFields(
        frozenset({*lists, *others, *image_columns(settings)}),
        COMMON_IGNORED,
        dict.fromkeys(lists, TURN_FIELDS),
    )


def recognises(record: dict[str, Any]) -> bool:
    """Return whether a record has messages, a prompt and its completion, or an instruction."""
    if is_dialogue(record.get(_COLUMNS[0])):
        return True
    if all(is_dialogue(record.get(name)) for name in _HALVES):
        return True
    return instructions.find_columns(record, FormSettings()) is not None


FORM = Form(read, fields, recognises)
