"""The elements of a JSON file, found so that a bad one costs only itself.

Where every element of a window is JSON, `seams` tells them apart. Elsewhere a window of bytes is
classified by one table look-up; strings, nesting and the commas between elements follow from
running sums. The scan looks at structure alone: invalid UTF-8, NaN, lone surrogates and raw
newlines are the business of whoever parses an element. Where quotes or brackets do not balance,
the scan takes up again at the next text that begins as the file's elements do.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from imp_data.errors import UserError
from imp_data.layouts.damage import (
    BLOCK_BYTES,
    MOST_BYTES,
    Offsets,
    Spans,
    lost_at,
    opening_of,
    read_at,
    taken_up_again,
)
from imp_data.layouts.json_form import Form, first_record, form_of, keys_of
from imp_data.layouts.parsing import parse
from imp_data.layouts.seams import seam_of, sound_spans
from imp_data.layouts.values import line_spans, value_spans
from imp_data.ledger import Verdict
from imp_data.ranges import opened

WINDOW_BYTES = BLOCK_BYTES
_HEAD_BYTES = 1 << 20

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COMMA = 1, 2, 3, 4, 5
_CLASS = np.zeros(256, np.uint8)
for _character, _class in zip(b'"\\{[}],', (1, 2, 3, 3, 4, 4, 5), strict=True):
    _CLASS[_character] = _class
# The same table as bytes: translate() is the fastest look-up there is.
_MATTERS = bytes(_CLASS.astype(bool))
# After the last record: white space, and zero bytes of a file that was not written to its end.
_BLANK = b" \t\r\n\0"
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_DEPTH_STEP = np.array([0, 0, 0, 1, -1, 0], np.int64)


class _State(NamedTuple):
    """Where a scan stands between two windows."""

    position: int
    element_start: int
    depth: int
    in_string: int
    closed: bool


def _before(element: int) -> _State:
    return _State(element, element, depth=1, in_string=0, closed=False)


def json_spans(
    path: Path,
    key: str | None = None,
    window: int = WINDOW_BYTES,
    fields: frozenset[str] = frozenset(),
    most: int = MOST_BYTES,
) -> Iterator[Spans]:
    """Spans of the records in a JSON file of any form that `json_form` knows.

    `fields` are those that every record has; `key` names an array in an object that is preferred.
    In an object of records by id, a span holds the key too (`parsing.parse` makes the id of it).
    Raises UserError if the file has another form.
    """
    head = _head(path)
    form = form_of(path, head, fields, key)
    opening = opening_of(head[form.begin :], fields)
    with opened(path) as file:
        match form.kind:
            case "lines":
                yield from line_spans(file, form.begin, opening, window)
            case "values":
                yield from value_spans(file, form.begin, opening)
            case _:
                array = _Array(path, form, opening, fields if key is None else frozenset())
                yield from _array_spans(file, array, window)


def _head(path: Path) -> bytes:
    try:
        with opened(path) as file:
            return file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise UserError(path, "is not there", "materialize its raw asset") from None


class _Array(NamedTuple):
    """An array or object that holds the records, and what they begin with.

    `fields`, where a second array of records after this one would be an error, those of a record.
    """

    path: Path
    form: Form
    opening: bytes | None
    fields: frozenset[str]


def _array_spans(file: BinaryIO, array: _Array, window: int) -> Iterator[Spans]:
    begin, opening, by_id = array.form.begin, array.opening, array.form.kind == "by id"
    state = _before(begin)
    seam = None if by_id else seam_of(read_at(file, begin, _HEAD_BYTES), opening)
    while True:
        for sound in sound_spans(file, state.element_start, window, seam):
            yield sound
            state = _before(int(sound.ends[-1]) + 1)
        block = _read_whole_escapes(file, state.position, window)
        spans, after = _scan(block, state)
        lost = lost_at(file, spans, opening, by_id)
        if lost is not None:
            resume_from = int(spans.starts[lost])
            spans = Spans(spans.starts[:lost], spans.ends[:lost])
        elif after.closed:
            if _is_end(file, spans, after.position, array):
                yield _without_empty_end(file, spans)
                yield from _after_array(file, after.position, array)
                return
            # More follows the bracket that seemed to close the array: it was one too many.
            resume_from = after.element_start
            spans = Spans(spans.starts[:-1], spans.ends[:-1])
        else:
            resume_from = after.element_start
        if len(spans.starts):
            yield spans
        too_long = after.position - resume_from > MOST_BYTES
        state = after
        if lost is None and block and not state.closed and not too_long:
            continue
        broken, resume = taken_up_again(file, resume_from, opening, by_id)
        if broken is not None:
            yield broken
        if resume is None:
            return
        state = _before(resume)


def _is_end(file: BinaryIO, spans: Spans, position: int, array: _Array) -> bool:
    """Whether the bracket before `position` closes the array, and not one of a damaged record."""
    rest = read_at(file, position - 1, _HEAD_BYTES)
    if not rest[1:].strip(_BLANK):
        return True
    if rest[:1] != (b"}" if array.form.kind == "by id" else b"]"):
        return False
    if array.opening and re.match(rb"[\s,]*\[\s*" + re.escape(array.opening), rest[1:]):
        return True  # another array begins
    for start, end in zip(spans.starts[::-1].tolist(), spans.ends[::-1].tolist(), strict=True):
        if last := read_at(file, start, end - start).strip():
            return not isinstance(parse(last), Verdict)
    return False


def _after_array(file: BinaryIO, position: int, array: _Array) -> Iterator[Spans]:
    """What stands after an array: more records, the end of the objects around it, or an error."""
    rest = read_at(file, position, _HEAD_BYTES)
    for _ in array.form.keys if array.form.kind == "array" else array.form.keys[:-1]:
        rest = _after_object(rest, array)
    tail = rest.strip(_BLANK).lstrip(b"]};")
    if tail[:1] in (b"[", b"{", b",") and not array.form.keys:
        yield from value_spans(file, position, array.opening)
    elif tail.strip(_BLANK + b"]};"):
        problem = f"has {tail[:24]!r} after the end of its records"
        raise UserError(array.path, problem, "write the records alone, as one array or one a line")


def _after_object(rest: bytes, array: _Array) -> bytes:
    """What follows the object around an array; other fields of it are no records."""
    text = rest.decode("latin-1")
    depth, end = 1, len(rest)
    for bracket in _BRACKET.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(bracket.group(), 0)
        if depth == 0:
            end = bracket.end()
            break
    fields = text[:end].lstrip(" \t\r\n,")
    around = first_record("{" + fields, 0, array.fields) if array.fields else None
    if around:
        names = f"{'/'.join(array.form.keys)} and {'/'.join(keys_of(around))}"
        problem = f"holds records in more than one place: {names}"
        raise UserError(
            array.path, problem, "write each into a file of its own, or all as one array"
        )
    return rest[end:]


def _without_empty_end(file: BinaryIO, spans: Spans) -> Spans:
    """The spans less a last one of white space: an empty array, or a comma before the bracket."""
    start, end = int(spans.starts[-1]), int(spans.ends[-1])
    empty = end - start <= WINDOW_BYTES and not read_at(file, start, end - start).strip()
    return Spans(spans.starts[:-1], spans.ends[:-1]) if empty else spans


def _read_whole_escapes(file: BinaryIO, position: int, size: int) -> bytes:
    """A block, lengthened until it does not end inside an escape."""
    block = read_at(file, position, size)
    while block.endswith(b"\\"):
        more = file.read(1)
        if not more:
            return block
        block += more
    return block


def _scan(block: bytes, state: _State) -> tuple[Spans, _State]:
    where = np.flatnonzero(np.frombuffer(block.translate(_MATTERS), np.bool_))
    kind = _CLASS[np.frombuffer(block, np.uint8)[where]]
    if (kind == _BACKSLASH).any():
        escaped = _escaped(where[kind == _BACKSLASH])
        places = np.searchsorted(where, escaped).clip(max=len(where) - 1)
        kind[places[where[places] == escaped]] = _BACKSLASH
        where, kind = where[kind != _BACKSLASH], kind[kind != _BACKSLASH]
    quoted = (np.cumsum(kind == _QUOTE) + state.in_string) & 1
    outside = (quoted == 0) & (kind != _QUOTE)
    where_out, kind_out = where[outside], kind[outside]
    depth = np.cumsum(_DEPTH_STEP[kind_out]) + state.depth
    ends_here = np.flatnonzero(((depth == 1) & (kind_out == _COMMA)) | (depth == 0))
    closes = np.flatnonzero(depth[ends_here] == 0)
    closed = bool(len(closes))
    if closed:
        ends_here = ends_here[: closes[0] + 1]
    ends = where_out[ends_here] + state.position
    starts = np.concatenate(([state.element_start], ends[:-1] + 1)) if len(ends) else ends
    next_start = int(ends[-1]) + 1 if len(ends) else state.element_start
    return Spans(starts, ends), _State(
        position=next_start if closed else state.position + len(block),
        element_start=int(starts[-1]) if closed and len(starts) else next_start,
        depth=int(depth[-1]) if len(depth) else state.depth,
        in_string=int(quoted[-1]) if len(quoted) else state.in_string,
        closed=closed,
    )


def _escaped(backslashes: Offsets) -> Offsets:
    """Positions that an odd run of backslashes stands before."""
    run_ends = np.flatnonzero(np.diff(backslashes, append=-1) != 1)
    run_lengths = np.diff(run_ends, prepend=-1)
    after: Offsets = backslashes[run_ends[run_lengths % 2 == 1]] + 1
    return after
