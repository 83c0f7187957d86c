"""The form `conversations`: turns of LLaVA {from, value}, ShareGPT with a system prompt."""

from typing import Any

from imp_data.records.forms.assemble import assemble, required_field
from imp_data.records.forms.base import (
    Conversation,
    Form,
    FormSettings,
    column_names,
    form_reader,
)
from imp_data.records.forms.images import image_columns, read_images
from imp_data.records.forms.list_text import expand_list_text
from imp_data.records.forms.turns import (
    TURN_FIELDS,
    is_dialogue,
    match_images,
    read_dialogue,
    read_system,
)
from imp_data.records.layouts.unread_fields import COMMON_IGNORED, LayoutFields

_COLUMNS = ("conversations",)
# The text beside an image on the web (ALLaVA); the turns contain what is asked about it.
_IGNORED = frozenset({"original_caption"})


def read_turn_list(record: dict[str, Any], settings: FormSettings, name: str) -> Conversation:
    """Return the Conversation of the list of turns in the column `name`."""
    turns, parts = read_dialogue(expand_list_text(record, name), name)
    column, repairs = read_images(record, settings)
    images = match_images(column, parts, name)
    return assemble(record, settings, images, read_system(record, settings, turns), repairs=repairs)


@form_reader
def read(record: dict[str, Any], settings: FormSettings, ordinal: int) -> Conversation:
    """Read a record with a list of turns."""
    return read_turn_list(record, settings, required_field(record, settings, *_COLUMNS))


def fields(settings: FormSettings) -> LayoutFields:
    """Return the fields of a record and of a turn."""
    names = column_names(settings, *_COLUMNS)
    read = {*names, *column_names(settings, "system", "id", "subset"), *image_columns(settings)}
    return LayoutFields(
        frozenset(read), COMMON_IGNORED | _IGNORED, dict.fromkeys(names, TURN_FIELDS)
    )


def recognises(record: dict[str, Any]) -> bool:
    """Return whether a record has a list of turns under one of the form's names."""
    return any(is_dialogue(record.get(name)) for name in column_names(FormSettings(), *_COLUMNS))


FORM = Form(read, fields, recognises)
