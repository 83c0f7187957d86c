"""Pieces of work over JSON files, and the records in them, alone or by image."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from imp_data.errors import UserError
from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.json_array.parse import parse, parse_exactly
from imp_data.records.json_array.scanner import json_spans
from imp_data.records.json_array.spans import Offsets, Spans
from imp_data.records.layouts.columnar import Plain
from imp_data.records.layouts.unread_fields import Keys, shown
from imp_data.sample import Draft, Refused, Row
from imp_data.storage.globs import matching
from imp_data.storage.range_reader import open_file

CHUNK_ROWS = 2048
# Less than this between two records is read along with them.
_GAP_BYTES = 4096


class Chunk(NamedTuple):
    """Records to be read together, of which each has an entry in every column.

    `file_numbers`, `starts` and `ends` say where each is; consecutive records with the same
    `groups` number stand on one image; `ordinals` are their places upstream. `refused` has, by
    ordinal, why a record is not read at all.
    """

    files: tuple[Path, ...]
    file_numbers: Offsets
    starts: Offsets
    ends: Offsets
    groups: Offsets
    ordinals: Offsets
    refused: Mapping[int, Verdict] = {}

    def only(self, rows: npt.NDArray[np.bool_] | slice) -> "Chunk":
        """Some of the records."""
        numbers, starts, ends = self.file_numbers[rows], self.starts[rows], self.ends[rows]
        groups, ordinals = self.groups[rows], self.ordinals[rows]
        return Chunk(self.files, numbers, starts, ends, groups, ordinals, self.refused)

    def alone(self) -> Iterator["Chunk"]:
        """Each record by itself, or with all that stand on its image."""
        bounds = [0, *(np.flatnonzero(np.diff(self.groups)) + 1).tolist(), len(self.groups)]
        for first, last in pairwise(bounds):
            yield self.only(slice(first, last))


class Layout(NamedTuple):
    """How one layout is read.

    `chunks` cuts what stands in a source's raw folder into pieces of work, cheap to send to
    another process; `groups` reads a piece and gives the records that belong on one image;
    `assemble` makes Drafts of a group. `keys` are the fields of a record. `plain`, where a layout
    has it, makes of most groups at once what these two make of each.
    """

    chunks: Callable[[Path, Source, Limits], Iterator[Chunk]]
    groups: Callable[[Chunk], Iterator[list[Row]]]
    assemble: Callable[[list[Row], Source], Iterable[Draft | Refused]]
    keys: Keys
    plain: Callable[[Chunk, Source], Plain] | None = None


def record_files(folder: Path, source: Source) -> list[Path]:
    """The files that hold a source's records, in the manifest's order, globs sorted."""
    files: list[Path] = []
    for pattern in source.records:
        found = matching(folder, pattern)
        if not found:
            raise UserError(
                folder / pattern, "is not there", f"materialize raw/{source.name} again"
            )
        files += found
    return list(dict.fromkeys(files))  # two globs may name one file


def single_chunks(
    files: Sequence[Path], fields: frozenset[str], limits: Limits, size: int = CHUNK_ROWS
) -> Iterator[Chunk]:
    """Chunks of records that stand alone, in upstream order; `fields` are those that each has.

    A chunk has `size` records, or as many as are together no larger than one may be.
    """
    ordinal, most = 0, limits.max_record_bytes
    for file in files:
        for spans in _regular(json_spans(file, fields=fields, most=most), size, most):
            count = len(spans.starts)
            ordinals = np.arange(ordinal, ordinal + count)
            nothing = np.zeros(count, np.int64)
            refused = too_large(ordinals, spans.ends - spans.starts, most)
            yield Chunk((file,), nothing, *spans, ordinals, ordinals, refused)
            ordinal += count


def _regular(spans: Iterator[Spans], size: int, most: int) -> Iterator[Spans]:
    """The same spans in pieces of bounded count and bytes, wherever the windows ended."""
    kept = Spans(np.zeros(0, np.int64), np.zeros(0, np.int64))
    for more in spans:
        kept = Spans(*(np.concatenate(pair) for pair in zip(kept, more, strict=True)))
        while (count := _fitting(kept, size, most)) < len(kept.starts) or count == size:
            yield Spans(kept.starts[:count], kept.ends[:count])
            kept = Spans(kept.starts[count:], kept.ends[count:])
    if len(kept.starts):
        yield kept


def _fitting(spans: Spans, size: int, most: int) -> int:
    """How many of the first spans are no more than `size`, and together not over `most` bytes."""
    held = np.cumsum(read_bytes(spans.ends - spans.starts, most))
    return min(size, int(np.searchsorted(held, most, side="right")))


def read_bytes(sizes: Offsets, most: int) -> Offsets:
    """How many bytes of each record are read: none of one that is too large."""
    return np.where(sizes > most, 0, sizes)


def too_large(ordinals: Offsets, sizes: Offsets, most: int) -> dict[int, Verdict]:
    """The verdict on each record that is larger than it may be."""
    if not (sizes > most).any():
        return {}
    over = zip(ordinals[sizes > most].tolist(), sizes[sizes > most].tolist(), strict=True)
    return {
        ordinal: Verdict(Reason.RECORD_TOO_LARGE, {"bytes": size, "most": most})
        for ordinal, size in over
    }


def text_field(name: str) -> Callable[[Any], str | None]:
    """A function that gives an object's text field, or None."""

    def get(value: Any) -> str | None:
        found = value.get(name) if isinstance(value, dict) else None
        return found if isinstance(found, str) else None

    return get


def name_row(row: Row, *fields: str) -> str | None:
    """What a record calls itself in the first of these fields that says something, as text.

    None where it says nothing; its row in the ledger is then named by its place.
    """
    identity = _first_said(row.value, fields)
    if row.raw and isinstance(identity, float) and abs(identity) >= 2**63:
        # Perhaps an integer past 64 bits: then the record is read again, with all its digits.
        row.value = parse_exactly(row.raw)
        identity = _first_said(row.value, fields)
    row.upstream_id = place_id(row.ordinal)
    if identity is None:
        if any(field in row.value for field in fields):
            row.mends.append(AppliedRepair(Repair.ID_FROM_PLACE, "null"))
        return None
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        identity = json.dumps(identity, ensure_ascii=False, separators=(",", ":"))
        row.mends.append(AppliedRepair(Repair.ID_TO_TEXT, identity))
    row.upstream_id = str(identity)
    return row.upstream_id


def _first_said(value: dict[str, Any], fields: Sequence[str]) -> Any:
    return next((value[name] for name in fields if value.get(name) is not None), None)


def place_id(ordinal: int) -> str:
    """What a record without an id is called in the ledger; no part of its Sample's id."""
    return f"row-{ordinal}"


def chunk_groups(chunk: Chunk) -> Iterator[list[Row]]:
    """The rows of a chunk by image, each with its bytes, not yet parsed."""
    group: list[Row] = []
    last = -1
    names = [chunk.files[number].name for number in chunk.file_numbers.tolist()]
    for raw, name, number, ordinal in zip(
        elements(chunk), names, chunk.groups.tolist(), chunk.ordinals.tolist(), strict=True
    ):
        if number != last and group:
            yield group
            group = []
        last = number
        refused = chunk.refused.get(ordinal)
        group.append(Row(ordinal, value=None, raw=raw, file=name, refused=refused))
    if group:
        yield group


def elements(chunk: Chunk) -> Iterator[bytes]:
    """The bytes of each row of a chunk; none of one that is refused."""
    files = [open_file(file) for file in chunk.files]
    ends = chunk.ends
    if chunk.refused:
        refused = np.isin(chunk.ordinals, list(chunk.refused))
        ends = np.where(refused, chunk.starts, ends)
    try:
        if len(files) == 1:
            yield from slices(files[0], chunk.starts, ends)
        else:
            yield from _scattered(files, chunk.file_numbers, chunk.starts, ends)
    finally:
        for file in files:
            file.close()


def slices(opened: Any, starts: Offsets, ends: Offsets) -> Iterator[bytes]:
    """The bytes of each span; spans that follow one another closely are read at once."""
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


def _scattered(
    opened: list[Any], numbers: Offsets, starts: Offsets, ends: Offsets
) -> Iterator[bytes]:
    for number, start, end in zip(numbers.tolist(), starts.tolist(), ends.tolist(), strict=True):
        opened[number].seek(start)
        yield opened[number].read(end - start)


def read_rows(rows: list[Row]) -> Iterator[Row | Refused]:
    """Each row with its value; or refused where its bytes are no JSON object."""
    for row in rows:
        if row.refused is not None:
            yield Refused(row, row.refused)
            continue
        parsed = parse(row.raw) if row.value is None else (row.value, [])
        if isinstance(parsed, Verdict):
            yield Refused(row, parsed)
            continue
        row.value, mends = parsed
        row.mends += mends
        if isinstance(row.value, dict):
            yield row
        else:
            yield Refused(row, wrong_type("", "should be an object", row.value))


def validated(adapter: TypeAdapter[Any], row: Row) -> Any | Refused:
    """The row's value as the adapter's type; or refused, naming the first field that is wrong."""
    try:
        return adapter.validate_python(row.value, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    if isinstance(problem["input"], float) and problem["input"] >= 2**63 and row.raw:
        exact = parse_exactly(row.raw)
        if exact != row.value:
            row.value = exact
            return validated(adapter, row)
    field = ".".join(str(step) for step in problem["loc"])
    return Refused(row, wrong_type(field, problem["msg"], problem["input"]))


def wrong_type(field: str, problem: str, found: Any) -> Verdict:
    """The verdict on a record that lacks the layout's form."""
    evidence = {"field": field, "problem": problem, "found": shown(found)}
    return Verdict(Reason.WRONG_TYPE, evidence)
