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
from imp_data.ledger import Verdict
from imp_data.records.json_array.anchors import PATIENCE, Anchors, Beginnings
from imp_data.records.json_array.fast_split import seam_of, sound_spans
from imp_data.records.json_array.file_form import Form, first_record, form_of, keys_of
from imp_data.records.json_array.json_lines import line_spans, value_spans
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.recovery import lost_at, pieces, recovered
from imp_data.records.json_array.spans import (
    BLOCK_BYTES,
    MOST_BYTES,
    Offsets,
    Spans,
    openings_of,
    read_at,
)
from imp_data.storage.range_reader import open_file
from imp_data.storage.sorted_lookup import find_sorted

WINDOW_BYTES = BLOCK_BYTES
_HEAD_BYTES = 1 << 20
# After damage the next is often near: so much is scanned at first, and twice as much each time.
_FIRST_WINDOW_BYTES = 1 << 12
# What one damage takes, in bytes looked at.
_LOSS_BYTES = 1 << 14

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COMMA = 1, 2, 3, 4, 5
_CLASS = np.zeros(256, np.uint8)
for _character, _class in zip(b'"\\{[}],', (1, 2, 3, 3, 4, 4, 5), strict=True):
    _CLASS[_character] = _class
# The same table as bytes: translate() is the fastest look-up there is.
_MATTERS = bytes(_CLASS.astype(bool))
# After the last record: white space, and zero bytes of a file that was not written to its end.
_BLANK = b" \t\r\n\0"
_FIELD = re.compile(rb'\s*+"(?:[^"\\]++|\\.)*+"\s*+:', re.DOTALL)
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)
# Before the first record of another array or object.
_ELSEWHERE = re.compile(rb":\s*+[\[{]\s*+\Z")
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
    records, others = openings_of(head[form.begin :], fields)
    begins = Beginnings(tuple(records), tuple(others), form.kind == "by id", fields=fields)
    with open_file(path) as file:
        match form.kind:
            case "lines":
                yield from line_spans(file, form.begin, begins, most, window)
            case "values":
                yield from value_spans(file, form.begin, begins, most)
            case _:
                array = _Array(path, form, fields if key is None else frozenset())
                yield from _ArrayScan(file, array, begins, most, window).spans()


def _head(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise UserError(path, "is not there", "materialize its raw asset") from None


class _Array(NamedTuple):
    """An array or object that holds the records.

    `fields`, where a second array of records after this one would be an error, those of a record.
    """

    path: Path
    form: Form
    fields: frozenset[str]


class _ArrayScan:
    """Finds the elements of an array or object.

    All that is looked at in search of ends and of records after damage is bounded by some times
    what is done, so that no input takes longer than its size. Where that is used up, a stretch is
    cut at what looks like the beginning of a record.
    """

    def __init__(
        self, file: BinaryIO, array: _Array, begins: Beginnings, most: int, window: int
    ) -> None:
        self._file, self._array, self._begins = file, array, begins
        self._most, self._window = most, window
        self._anchors = Anchors(file, begins, most)
        head = read_at(file, array.form.begin, _HEAD_BYTES)
        self._seam = None if begins.by_id else seam_of(head, begins.records)
        self._looked_at = 0

    def spans(self) -> Iterator[Spans]:
        """All of them, and what stands after the end."""
        state, size = _before(self._array.form.begin), self._window
        while True:
            for sound in sound_spans(
                self._file, state.element_start, size, self._window, self._seam
            ):
                yield sound
                state, size = _before(int(sound.ends[-1]) + 1), self._window
            block = _read_whole_escapes(self._file, state.position, size)
            spans, after = _scan(block, state)
            self._looked_at += 2 * len(block)
            lost = lost_at(self._file, spans, self._anchors)
            if lost is not None:
                begin, spans = int(spans.starts[lost]), spans.only(slice(lost))
            elif after.closed and self._is_end(spans, after.position):
                yield self._without_empty_end(self._without_fields_around(spans, after.position))
                yield from self._after_array(after.position)
                return
            else:
                # More follows a bracket that seemed to close the array: it was one too many.
                spans = spans.only(slice(-1)) if after.closed else spans
                begin = after.element_start
            if len(spans.starts):
                yield spans
            if lost is None and block and not after.closed:
                if after.position - begin <= self._most:
                    state, size = after, min(2 * size, self._window)
                    continue
                if (beyond := self._after_blank(begin)) > begin:
                    state = _before(beyond)
                    continue
            self._looked_at += _LOSS_BYTES
            found, resume = self._recovered(begin)
            if found:
                yield Spans(*np.array(found, np.int64).T)
            if resume is None:
                return
            state, size = _before(resume), min(_FIRST_WINDOW_BYTES, self._window)

    def _recovered(self, begin: int) -> tuple[list[tuple[int, int]], int | None]:
        """The spans from damage on, and where the scan goes on."""
        allowed = PATIENCE * (self._most + begin - self._array.form.begin)
        if self._looked_at + self._anchors.stretch.work < allowed:
            return recovered(self._file, self._anchors, begin, self._most)
        return pieces(self._file, self._anchors, begin, begin + self._window)

    def _after_blank(self, begin: int) -> int:
        """Past what white space stands before an element by the block."""
        while (block := read_at(self._file, begin, BLOCK_BYTES)) and not block.strip():
            begin += len(block)
        return begin

    def _is_end(self, spans: Spans, position: int) -> bool:
        """Whether the bracket before `position` closes the array, not one of a damaged record."""
        rest = read_at(self._file, position - 1, _HEAD_BYTES)
        if rest[:1] != (b"}" if self._begins.by_id else b"]"):
            return len(rest) < _HEAD_BYTES and not rest[1:].strip(_BLANK)
        following = self._anchors.after(position)
        if following is not None and (self._begins.by_id or self._array.form.keys):
            between = read_at(self._file, position, min(following - position, BLOCK_BYTES))
            if not _ELSEWHERE.search(between):
                return False
        for start, end in zip(spans.starts[::-1].tolist(), spans.ends[::-1].tolist(), strict=True):
            if last := read_at(self._file, start, end - start).strip():
                return following is None or not isinstance(parse(last), Verdict)
        return True

    def _after_array(self, position: int) -> Iterator[Spans]:
        """What stands after an array: more records, the end of the objects around it, or damage."""
        form = self._array.form
        if form.kind == "array" and not form.keys:
            yield from value_spans(self._file, position, self._begins, self._most)
            return
        rest = read_at(self._file, position, _HEAD_BYTES)
        begin = position
        for _ in form.keys if form.kind == "array" else form.keys[:-1]:
            size = len(rest)
            rest = _after_object(rest, self._array)
            begin += size - len(rest)
        tail = rest.strip(_BLANK).lstrip(b"]};,")
        if tail and self._anchors.after(begin) is not None:
            problem = f"has {tail[:24]!r} after the end of its records"
            raise UserError(
                self._array.path, problem, "write the records alone, as one array or one a line"
            )
        if tail.strip(_BLANK + b"]};,"):
            yield from value_spans(self._file, begin, self._begins, self._most)

    def _without_fields_around(self, spans: Spans, position: int) -> Spans:
        """The spans less fields of the object around, whose end stands for the array's.

        So it is where the last record lacks a brace and has taken the array's bracket for it.
        """
        if self._begins.by_id or read_at(self._file, position - 1, 1) != b"}":
            return spans
        count = len(spans.starts)
        while count:
            start, end = int(spans.starts[count - 1]), int(spans.ends[count - 1])
            if not _FIELD.match(read_at(self._file, start, min(end - start, _HEAD_BYTES))):
                break
            count -= 1
        return spans.only(slice(count))

    def _without_empty_end(self, spans: Spans) -> Spans:
        """The spans less a last one of white space: an empty array, or a comma at the end."""
        if not len(spans.starts):
            return spans
        start, end = int(spans.starts[-1]), int(spans.ends[-1])
        empty = end - start <= WINDOW_BYTES and not read_at(self._file, start, end - start).strip()
        return spans.only(slice(-1)) if empty else spans


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


def _read_whole_escapes(file: BinaryIO, position: int, size: int) -> bytes:
    """A block, one byte longer where it would end within an escape."""
    block = read_at(file, position, size)
    odd = (len(block) - len(block.rstrip(b"\\"))) % 2
    return block + file.read(1) if odd else block


def _scan(block: bytes, state: _State) -> tuple[Spans, _State]:
    where = np.flatnonzero(np.frombuffer(block.translate(_MATTERS), np.bool_))
    kind = _CLASS[np.frombuffer(block, np.uint8)[where]]
    if (kind == _BACKSLASH).any():
        escaped = _escaped(where[kind == _BACKSLASH])
        places = find_sorted(where, escaped)
        kind[places[places >= 0]] = _BACKSLASH
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
