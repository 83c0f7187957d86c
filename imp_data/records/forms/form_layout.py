"""The layout of a source whose records have one of the forms, in files of any kind."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePath

from imp_data.ledger import Repair, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.forms.base import (
    Conversation,
    Form,
    FormSettings,
    ImageRef,
    column_names,
)
from imp_data.records.forms.group_records import grouped_chunks, read_grouped
from imp_data.records.forms.join_records import join_records
from imp_data.records.forms.record_files import read_records, record_chunks
from imp_data.records.forms.settings import form_settings
from imp_data.records.layouts.base import Layout, parse_rows, set_upstream_id
from imp_data.records.layouts.unread_fields import check_unread_fields
from imp_data.records.record_chunk import Chunk
from imp_data.sample import Draft, EmbeddedImage, RejectedRecord, UpstreamRecord
from imp_data.storage.image_paths import add_prefix

# `set_upstream_id` notes them at the row.
_ID_REPAIRS = frozenset({Repair.ID_FROM_PLACE, Repair.ID_TO_TEXT})


def form_layout(form: Form) -> Layout:
    """Return the layout that reads records of a form."""
    return Layout(
        chunks=_chunks,
        groups=_groups,
        assemble=partial(_assemble, form),
        fields=form.fields(FormSettings()),
    )


def _chunks(folder: Path, source: Source, limits: Limits) -> Iterator[Chunk]:
    """Yield the chunks of a source; with `group_by`, the records of an image are in one chunk."""
    divide = grouped_chunks if source.group_by else record_chunks
    return divide(folder, source, limits)


def _groups(chunk: Chunk, source: Source) -> Iterator[list[UpstreamRecord]]:
    return read_grouped(chunk, source) if chunk.parts else read_records(chunk, source)


def _assemble(
    form: Form, rows: list[UpstreamRecord], source: Source
) -> Iterator[Draft | RejectedRecord]:
    """Make one Draft per record; with `group_by`, one of all records."""
    settings = form_settings(source)
    readable = list[UpstreamRecord]()
    for row in parse_rows(rows):
        if isinstance(row, RejectedRecord):
            yield row
        elif source.group_by:
            readable.append(row)
        else:
            yield _draft(row, settings, form, source)
    read = partial(_draft, form=form, source=source)
    yield from join_records(readable, read, settings, source)


def _draft(
    row: UpstreamRecord, settings: FormSettings, form: Form, source: Source
) -> Draft | RejectedRecord:
    identity = set_upstream_id(row, *column_names(settings, "id"))
    found = form.read(row.value, settings, row.ordinal)
    if isinstance(found, Verdict):
        return RejectedRecord(row, found)
    fields = form.fields(settings)
    fields = fields._replace(read=fields.read.union(source.group_by))
    ignored = check_unread_fields(row.value, fields, source)
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
