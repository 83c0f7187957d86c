"""Define layouts and chunks of records, and read the records of JSON files."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from imp_data.errors import UserError
from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.json_array.parse import parse, parse_exactly
from imp_data.records.json_array.scanner import json_spans
from imp_data.records.json_array.spans import Offsets, Spans
from imp_data.records.layouts.columnar import DraftColumns
from imp_data.records.layouts.unread_fields import LayoutFields, preview
from imp_data.records.record_chunk import CHUNK_ROWS, Chunk, find_too_large, readable_sizes
from imp_data.sample import Draft, RejectedRecord, UpstreamRecord
from imp_data.storage.decompressed import readable_path
from imp_data.storage.globs import matching_files
from imp_data.storage.range_reader import open_file

# Two records closer than this are read in one piece, gap included.
_GAP_BYTES = 4096


class Layout(NamedTuple):
    """The functions that read one layout.

    `chunks` divides the records of a source's raw directory into chunks that are cheap to send to
    another process; `groups` reads a chunk and yields the records that share an image;
    `assemble` makes Drafts of a group. `fields` are the fields of a record. `columns`, if a layout
    has it, returns for most groups of a chunk at once what `groups` and `assemble` return for each.
    """

    chunks: Callable[[Path, Source, Limits], Iterator[Chunk]]
    groups: Callable[[Chunk, Source], Iterator[list[UpstreamRecord]]]
    assemble: Callable[[list[UpstreamRecord], Source], Iterable[Draft | RejectedRecord]]
    fields: LayoutFields
    columns: Callable[[Chunk, Source], DraftColumns] | None = None


def list_record_files(folder: Path, source: Source) -> list[Path]:
    """List the files with a source's records, in the manifest's order, globs sorted.

    Of a compressed file, the list has the decompressed copy. Raises UserError if a pattern matches
    no file, or if there is no copy yet.
    """
    files: list[Path] = []
    for pattern in source.records:
        found = matching_files(folder, pattern)
        if not found:
            raise UserError(
                folder / pattern, "does not exist", f"materialize raw/{source.name} again"
            )
        files += [readable_path(folder, file) for file in found]
    return list(dict.fromkeys(files))  # two globs may match one file


def chunk_records(
    files: Sequence[Path],
    fields: frozenset[str],
    limits: Limits,
    size: int = CHUNK_ROWS,
    ordinal: int = 0,
) -> Iterator[Chunk]:
    """Yield chunks of independent records, in upstream order; `fields` are those of every record.

    The first record has the number `ordinal`.

    A chunk has `size` records, or fewer if together they exceed the size limit of one record.
    """
    max_bytes = limits.max_record_bytes
    for file in files:
        for spans in _regroup(
            json_spans(file, fields=fields, max_bytes=max_bytes), size, max_bytes
        ):
            count = len(spans.starts)
            ordinals = np.arange(ordinal, ordinal + count)
            zeros = np.zeros(count, np.int64)
            rejections = find_too_large(ordinals, spans.ends - spans.starts, max_bytes)
            yield Chunk((file,), zeros, *spans, ordinals, ordinals, rejections)
            ordinal += count


def _regroup(spans: Iterator[Spans], size: int, max_bytes: int) -> Iterator[Spans]:
    """Regroup spans into pieces of bounded count and bytes, independent of the windows."""
    kept = Spans(np.zeros(0, np.int64), np.zeros(0, np.int64))
    for more in spans:
        kept = Spans(*(np.concatenate(pair) for pair in zip(kept, more, strict=True)))
        while (count := _count_fitting(kept, size, max_bytes)) < len(kept.starts) or count == size:
            yield Spans(kept.starts[:count], kept.ends[:count])
            kept = Spans(kept.starts[count:], kept.ends[count:])
    if len(kept.starts):
        yield kept


def _count_fitting(spans: Spans, size: int, max_bytes: int) -> int:
    """Count the first spans that are at most `size` and together at most `max_bytes`."""
    held = np.cumsum(readable_sizes(spans.ends - spans.starts, max_bytes))
    return min(size, int(np.searchsorted(held, max_bytes, side="right")))


def text_getter(name: str) -> Callable[[Any], str | None]:
    """Return a function that gets an object's text field, or None."""

    def get(value: Any) -> str | None:
        found = value.get(name) if isinstance(value, dict) else None
        return found if isinstance(found, str) else None

    return get


def set_upstream_id(row: UpstreamRecord, *fields: str) -> str | None:
    """Set a record's upstream id from the first of these fields that is not null; return it.

    Returns None if all are absent or null; the ledger then names the record by its position.
    """
    identity = _first_value(row.value, fields)
    if row.raw and isinstance(identity, float) and abs(identity) >= 2**63:
        # This may be an integer past 64 bits: parse the record again to keep all its digits.
        row.value = parse_exactly(row.raw)
        identity = _first_value(row.value, fields)
    row.upstream_id = ordinal_id(row.ordinal)
    if identity is None:
        if any(field in row.value for field in fields):
            row.repairs.append(AppliedRepair(Repair.ID_FROM_PLACE, "null"))
        return None
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        identity = json.dumps(identity, ensure_ascii=False, separators=(",", ":"))
        row.repairs.append(AppliedRepair(Repair.ID_TO_TEXT, identity))
    row.upstream_id = str(identity)
    return row.upstream_id


def _first_value(value: dict[str, Any], fields: Sequence[str]) -> Any:
    return next((value[name] for name in fields if value.get(name) is not None), None)


def ordinal_id(ordinal: int) -> str:
    """Return the ledger's name of a record without an id; it is no part of its Sample's id."""
    return f"row-{ordinal}"


def read_groups(chunk: Chunk, source: Source) -> Iterator[list[UpstreamRecord]]:
    """Yield the records of a chunk by image, each with its bytes, not yet parsed."""
    group: list[UpstreamRecord] = []
    last = -1
    names = [chunk.files[number].name for number in chunk.file_numbers.tolist()]
    for raw, name, number, ordinal in zip(
        read_elements(chunk), names, chunk.groups.tolist(), chunk.ordinals.tolist(), strict=True
    ):
        if number != last and group:
            yield group
            group = []
        last = number
        rejection = chunk.rejections.get(ordinal)
        group.append(UpstreamRecord(ordinal, value=None, raw=raw, file=name, rejection=rejection))
    if group:
        yield group


def read_elements(chunk: Chunk) -> Iterator[bytes]:
    """Yield the bytes of each record of a chunk; empty for a rejected record."""
    files = [open_file(file) for file in chunk.files]
    ends = chunk.ends
    if chunk.rejections:
        is_rejected = np.isin(chunk.ordinals, list(chunk.rejections))
        ends = np.where(is_rejected, chunk.starts, ends)
    try:
        if len(files) == 1:
            yield from read_spans(files[0], chunk.starts, ends)
        else:
            yield from _read_scattered(files, chunk.file_numbers, chunk.starts, ends)
    finally:
        for file in files:
            file.close()


def read_spans(opened: Any, starts: Offsets, ends: Offsets) -> Iterator[bytes]:
    """Yield the bytes of each span; spans close to each other are read at once."""
    gaps = np.flatnonzero((starts[1:] - ends[:-1] < 0) | (starts[1:] - ends[:-1] > _GAP_BYTES)) + 1
    for begin, end in zip([0, *gaps.tolist()], [*gaps.tolist(), len(starts)], strict=True):
        if begin == end:
            continue
        base = int(starts[begin])
        opened.seek(base)
        block = opened.read(int(ends[end - 1]) - base)
        for a, b in zip(
            (starts[begin:end] - base).tolist(), (ends[begin:end] - base).tolist(), strict=True
        ):
            yield block[a:b]


def _read_scattered(
    opened: list[Any], numbers: Offsets, starts: Offsets, ends: Offsets
) -> Iterator[bytes]:
    for number, start, end in zip(numbers.tolist(), starts.tolist(), ends.tolist(), strict=True):
        opened[number].seek(start)
        yield opened[number].read(end - start)


def parse_rows(rows: list[UpstreamRecord]) -> Iterator[UpstreamRecord | RejectedRecord]:
    """Parse each record; reject it if its bytes are not a JSON object."""
    for row in rows:
        if row.rejection is not None:
            yield RejectedRecord(row, row.rejection)
            continue
        parsed = parse(row.raw) if row.value is None else (row.value, [])
        if isinstance(parsed, Verdict):
            yield RejectedRecord(row, parsed)
            continue
        row.value, repairs = parsed
        row.repairs += repairs
        if isinstance(row.value, dict):
            yield row
        else:
            yield RejectedRecord(row, wrong_type_verdict("", "should be an object", row.value))


def validate(adapter: TypeAdapter[Any], row: UpstreamRecord) -> Any | RejectedRecord:
    """Return the record as the adapter's type, or reject it, naming the first wrong field."""
    try:
        return adapter.validate_python(row.value, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    if isinstance(problem["input"], float) and problem["input"] >= 2**63 and row.raw:
        exact = parse_exactly(row.raw)
        if exact != row.value:
            row.value = exact
            return validate(adapter, row)
    field = ".".join(str(step) for step in problem["loc"])
    return RejectedRecord(row, wrong_type_verdict(field, problem["msg"], problem["input"]))


def wrong_type_verdict(field: str, problem: str, found: Any) -> Verdict:
    """Return the verdict on a record that does not have the layout's form."""
    evidence = {"field": field, "problem": problem, "found": preview(found)}
    return Verdict(Reason.WRONG_TYPE, evidence)
