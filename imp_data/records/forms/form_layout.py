"""The layout of a source whose records have one of the forms, in files of any kind."""

from collections.abc import Iterator
from functools import partial
from pathlib import PurePath

from imp_data.ledger import Repair, Verdict
from imp_data.manifests import Source
from imp_data.records.forms.base import (
    Conversation,
    Form,
    FormSettings,
    ImageRef,
    column_names,
)
from imp_data.records.forms.record_files import read_records, record_chunks
from imp_data.records.forms.settings import form_settings
from imp_data.records.layouts.base import Layout, parse_rows, set_upstream_id
from imp_data.records.layouts.unread_fields import check_unread_fields
from imp_data.sample import Draft, EmbeddedImage, RejectedRecord, UpstreamRecord
from imp_data.storage.image_paths import add_prefix

# `set_upstream_id` notes them at the row.
_ID_REPAIRS = frozenset({Repair.ID_FROM_PLACE, Repair.ID_TO_TEXT})


def form_layout(form: Form) -> Layout:
    """Return the layout that reads records of a form."""
    return Layout(
        chunks=record_chunks,
        groups=read_records,
        assemble=partial(_assemble, form),
        fields=form.fields(FormSettings()),
    )


def _assemble(
    form: Form, rows: list[UpstreamRecord], source: Source
) -> Iterator[Draft | RejectedRecord]:
    """Make one Draft per record."""
    settings = form_settings(source)
    for row in parse_rows(rows):
        yield row if isinstance(row, RejectedRecord) else _draft(row, form, settings, source)


def _draft(
    row: UpstreamRecord, form: Form, settings: FormSettings, source: Source
) -> Draft | RejectedRecord:
    identity = set_upstream_id(row, *column_names(settings, "id"))
    found = form.read(row.value, settings, row.ordinal)
    if isinstance(found, Verdict):
        return RejectedRecord(row, found)
    ignored = check_unread_fields(row.value, form.fields(settings), source)
    if isinstance(ignored, Verdict):
        return RejectedRecord(row, ignored)
    row.ignored_fields = ignored
    repairs = [repair for repair in found.repairs if repair.repair not in _ID_REPAIRS]
    return Draft(
        [row],
        identity or "",
        _subset(found, row, source),
        tuple(_image_path(image, source) for image in found.images),
        found.turns,
        repairs,
    )


def _image_path(image: ImageRef, source: Source) -> str:
    if isinstance(image, EmbeddedImage):
        return f"{image.collection or source.name}/{image.member}"
    return add_prefix(source.image_prefix, image)


def _subset(found: Conversation, row: UpstreamRecord, source: Source) -> str:
    if found.subset or source.subsets != "file":
        return found.subset
    return PurePath(row.file).stem
