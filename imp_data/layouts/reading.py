"""Pieces of work over JSON files, and the records in them, alone or by picture."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import xxhash
from pydantic import TypeAdapter, ValidationError

from imp_data.errors import UserError
from imp_data.layouts.damage import Offsets, Spans
from imp_data.layouts.elements import json_spans
from imp_data.layouts.parsing import parse, parse_exactly
from imp_data.ledger import Reason, Verdict
from imp_data.manifest import Source
from imp_data.objects import opened
from imp_data.sample import Draft, Refused, Row

CHUNK_ROWS = 2048
_SHOWN_CHARACTERS = 80


class Chunk(NamedTuple):
    """Records to be read together.

    `file_numbers`, `starts` and `ends` say where each is; consecutive records with the same
    `groups` number stand on one picture; `ordinals` are their places upstream.
    """

    files: tuple[Path, ...]
    file_numbers: Offsets
    starts: Offsets
    ends: Offsets
    groups: Offsets
    ordinals: Offsets


class Layout(NamedTuple):
    """How one layout is read.

    `chunks` cuts what stands in a source's raw folder into pieces of work, cheap to send to
    another process; `groups` reads a piece and gives the records that belong on one picture;
    `assemble` makes Drafts of a group.
    """

    chunks: Callable[[Path, Source], Iterator[Chunk]]
    groups: Callable[[Chunk], Iterator[list[Row]]]
    assemble: Callable[[list[Row], Source], Iterable[Draft | Refused]]


def record_files(folder: Path, source: Source) -> list[Path]:
    """The files that hold a source's records, in the manifest's order, globs sorted."""
    files: list[Path] = []
    for pattern in source.records:
        found = sorted(folder.glob(pattern), key=lambda file: file.parts)
        if not found:
            raise UserError(
                folder / pattern, "is not there", f"materialize raw/{source.name} again"
            )
        files += found
    return files


def single_chunks(
    files: Sequence[Path], key: str | None = None, size: int = CHUNK_ROWS
) -> Iterator[Chunk]:
    """Chunks of records that stand alone, in upstream order."""
    ordinal = 0
    for file in files:
        for spans in _regular(json_spans(file, key), size):
            count = len(spans.starts)
            ordinals = np.arange(ordinal, ordinal + count)
            nothing = np.zeros(count, np.int64)
            yield Chunk((file,), nothing, spans.starts, spans.ends, ordinals, ordinals)
            ordinal += count


def _regular(spans: Iterator[Spans], size: int) -> Iterator[Spans]:
    """The same spans in pieces of `size`, wherever the windows of the scan ended."""
    kept = Spans(np.zeros(0, np.int64), np.zeros(0, np.int64))
    for more in spans:
        kept = Spans(*(np.concatenate(pair) for pair in zip(kept, more, strict=True)))
        while len(kept.starts) >= size:
            yield Spans(kept.starts[:size], kept.ends[:size])
            kept = Spans(kept.starts[size:], kept.ends[size:])
    if len(kept.starts):
        yield kept


def grouped_chunks(
    files: Sequence[Path],
    picture_of: Callable[[Any], str | None],
    key: str | None = None,
    size: int = CHUNK_ROWS,
) -> Iterator[Chunk]:
    """Chunks in which all records on one picture stand together, pictures in upstream order.

    A first pass keeps 8 bytes of a picture's name and 20 of a record's place. Records without a
    readable picture stay alone.
    """
    numbers, starts, ends, names = _index(files, picture_of, key)
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(first[inverse], kind="stable")
    groups = first[inverse][order]
    for begin, end in _cuts(groups, size):
        here = order[begin:end]
        yield Chunk(tuple(files), numbers[here], starts[here], ends[here], groups[begin:end], here)


def _index(
    files: Sequence[Path], picture_of: Callable[[Any], str | None], key: str | None
) -> tuple[Offsets, Offsets, Offsets, Any]:
    numbers, starts, ends, names = [], [], [], []
    for number, file in enumerate(files):
        with opened(file) as bytes_of:
            for spans in json_spans(file, key):
                numbers.append(np.full(len(spans.starts), number))
                starts.append(spans.starts)
                ends.append(spans.ends)
                names.append(_names(_slices(bytes_of, spans.starts, spans.ends), picture_of, file))
    empty = np.zeros(0, np.int64)
    return (
        np.concatenate([empty, *numbers]),
        np.concatenate([empty, *starts]),
        np.concatenate([empty, *ends]),
        np.concatenate([np.zeros(0, np.uint64), *names]),
    )


def _names(elements: Iterator[bytes], picture_of: Callable[[Any], str | None], file: Path) -> Any:
    """xxh3 of each element's picture; of the element itself where it names none."""
    hashes = []
    for element in elements:
        picture = _picture(element, picture_of)
        alone = picture is None
        text = element + str(file).encode() if picture is None else picture.encode()
        hashes.append(xxhash.xxh3_64_intdigest(text, seed=int(alone)))
    return np.array(hashes, np.uint64)


def _picture(element: bytes, picture_of: Callable[[Any], str | None]) -> str | None:
    try:
        return picture_of(orjson.loads(element))
    except orjson.JSONDecodeError:
        parsed = parse(element)
        return None if isinstance(parsed, Verdict) else picture_of(parsed[0])


def _cuts(groups: Offsets, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of at least `size` records, or the rest, that never part a group."""
    bounds = np.append(np.flatnonzero(np.diff(groups)) + 1, len(groups))
    begin = 0
    while begin < len(groups):
        end = int(bounds[min(int(np.searchsorted(bounds, begin + size)), len(bounds) - 1)])
        yield begin, end
        begin = end


def text_field(name: str) -> Callable[[Any], str | None]:
    """A function that gives an object's text field, or None."""

    def get(value: Any) -> str | None:
        found = value.get(name) if isinstance(value, dict) else None
        return found if isinstance(found, str) else None

    return get


def id_of(row: Row, *fields: str) -> str | None:
    """What a record calls itself in the first of these fields that it has, as text."""
    identity = next((row.value[field] for field in fields if field in row.value), None)
    if isinstance(identity, float) and abs(identity) >= 2**63:
        # Perhaps an integer past 64 bits: then the record is read again, with all its digits.
        row.value = parse_exactly(row.raw)
        identity = next(row.value[field] for field in fields if field in row.value)
    return str(identity) if isinstance(identity, str | int) else None


def chunk_groups(chunk: Chunk) -> Iterator[list[Row]]:
    """The rows of a chunk by picture, each with its bytes, not yet parsed."""
    files = [opened(file) for file in chunk.files]
    try:
        group: list[Row] = []
        last = -1
        contiguous = len(files) == 1
        slices = (
            _slices(files[0], chunk.starts, chunk.ends) if contiguous else _scattered(files, chunk)
        )
        names = [chunk.files[number].name for number in chunk.file_numbers.tolist()]
        for raw, name, number, ordinal in zip(
            slices, names, chunk.groups.tolist(), chunk.ordinals.tolist(), strict=True
        ):
            if number != last and group:
                yield group
                group = []
            last = number
            group.append(Row(ordinal, value=None, raw=raw, file=name))
        if group:
            yield group
    finally:
        for file in files:
            file.close()


def _slices(opened: Any, starts: Offsets, ends: Offsets) -> Iterator[bytes]:
    """The bytes of each span; spans that follow one another closely are read at once."""
    gaps = np.flatnonzero((starts[1:] - ends[:-1] < 0) | (starts[1:] - ends[:-1] > 65536)) + 1
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


def _scattered(opened: list[Any], chunk: Chunk) -> Iterator[bytes]:
    for number, start, end in zip(
        chunk.file_numbers.tolist(), chunk.starts.tolist(), chunk.ends.tolist(), strict=True
    ):
        opened[number].seek(start)
        yield opened[number].read(end - start)


def read_rows(rows: list[Row]) -> Iterator[Row | Refused]:
    """Each row with its value; or refused where its bytes are no JSON object."""
    for row in rows:
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
    if isinstance(problem["input"], float) and problem["input"] >= 2**63:
        exact = parse_exactly(row.raw)
        if exact != row.value:
            row.value = exact
            return validated(adapter, row)
    field = ".".join(str(step) for step in problem["loc"])
    return Refused(row, wrong_type(field, problem["msg"], problem["input"]))


def wrong_type(field: str, problem: str, found: Any) -> Verdict:
    """The verdict on a record that lacks the layout's form."""
    shown = repr(found)[:_SHOWN_CHARACTERS]
    return Verdict(Reason.WRONG_TYPE, {"field": field, "problem": problem, "found": shown})
