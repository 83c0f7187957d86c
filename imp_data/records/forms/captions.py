"""The form `captions`: an image and its caption, with a question of the source's manifest."""

from typing import Any

import xxhash

from imp_data.ledger import Reason, Verdict
from imp_data.records.forms.assemble import assemble, read_identity, required_field
from imp_data.records.forms.base import (
    Conversation,
    Form,
    FormSettings,
    RecordError,
    column_names,
    form_reader,
    read_text,
)
from imp_data.records.forms.images import has_image, image_columns, read_images
from imp_data.records.layouts.base import ordinal_id
from imp_data.records.layouts.unread_fields import COMMON_IGNORED, LayoutFields, preview

# For a source without `prompts`.
DEFAULT_PROMPTS = ("Describe the image.",)
# What img2dataset writes beside a caption: the result of the download, and the JSON of its tars.
_IGNORED = frozenset({"status", "error_message", "exif", "json", "__url__", "link"})


@form_reader
def read(record: dict[str, Any], settings: FormSettings, ordinal: int) -> Conversation:
    """Read a caption; the first of several."""
    name = required_field(record, settings, "caption")
    value = record[name]
    caption = read_text(value[0] if isinstance(value, list) and value else value, name)
    images, repairs = read_images(record, settings)
    if not images:
        raise _missing_image(record, settings)
    # The record's own id selects the prompt, so other records' changes do not affect it.
    identity = read_identity(record, settings)[0] or ordinal_id(ordinal)
    prompts = settings.prompts or DEFAULT_PROMPTS
    prompt = prompts[
        xxhash.xxh3_64_intdigest(identity.encode("utf-8", "surrogatepass")) % len(prompts)
    ]
    turns = [("human", prompt), ("gpt", caption.strip())]
    return assemble(record, settings, images, turns, repairs=repairs, has_tokens=False)


def _missing_image(record: dict[str, Any], settings: FormSettings) -> RecordError:
    """Return the error of a caption without an image, with img2dataset's result if there is one."""
    columns = image_columns(settings)
    field = next((name for name in columns if name in record), columns[0])
    known = ("status", "error_message")
    result = {name: preview(record[name]) for name in known if record.get(name)}
    evidence = {"field": field, "problem": "a caption without an image", **result}
    return RecordError(Verdict(Reason.IMAGE_MISSING, evidence))


def fields(settings: FormSettings) -> LayoutFields:
    """Return the fields of a record."""
    read = {*column_names(settings, "caption", "id", "subset"), *image_columns(settings)}
    return LayoutFields(frozenset(read), COMMON_IGNORED | _IGNORED)


def recognises(record: dict[str, Any]) -> bool:
    """Return whether a record has a caption that is text, and an image."""
    names = column_names(FormSettings(), "caption")
    return has_image(record) and any(isinstance(record.get(name), str) for name in names)


FORM = Form(read, fields, recognises)
