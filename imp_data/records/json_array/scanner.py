"""Find the elements of a JSON file so that a damaged one costs only itself.

While every element of a window is valid JSON, `fast_split` separates them. Elsewhere `structure`
finds the commas between elements from strings and nesting. The scan examines structure only:
invalid UTF-8, NaN, lone surrogates and raw newlines are left to the parser of an element. Where
quotes or brackets do not balance, the scan resumes at the next text that begins as records do.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from imp_data.errors import UserError
from imp_data.ledger import Verdict
from imp_data.records.json_array.fast_split import find_separator, split_valid_windows
from imp_data.records.json_array.file_form import Form, detect_form, find_first_record, keys_around
from imp_data.records.json_array.json_lines import line_spans, value_spans
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.record_finder import WORK_FACTOR, Openings, RecordFinder
from imp_data.records.json_array.recovery import cut_at_openings, find_lost_span, recover_spans
from imp_data.records.json_array.spans import (
    BLOCK_BYTES,
    MAX_RECORD_BYTES,
    Spans,
    find_openings,
    read_at,
)
from imp_data.records.json_array.structure import read_block, scan, state_before
from imp_data.storage.range_reader import open_file

WINDOW_BYTES = BLOCK_BYTES
_HEAD_BYTES = 1 << 20
# The next damage is often near: the first window after damage is small, and doubles each time.
_FIRST_WINDOW_BYTES = 1 << 12
# Work accounted for each damage, in bytes.
_DAMAGE_WORK_BYTES = 1 << 14

# After the last record: white space, and zero bytes of an incompletely written file.
_BLANK = b" \t\r\n\0"
_FIELD = re.compile(rb'\s*+"(?:[^"\\]++|\\.)*+"\s*+:', re.DOTALL)
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)
# The opening of another array or object, before its first record.
_ELSEWHERE = re.compile(rb":\s*+[\[{]\s*+\Z")


def json_spans(
    path: Path,
    key: str | None = None,
    window: int = WINDOW_BYTES,
    fields: frozenset[str] = frozenset(),
    max_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Spans]:
    """Yield the spans of the records in a JSON file of any form in `file_form`.

    `fields` are those that every record has; `key` names the preferred array in an object.
    In an object of records by id, a span includes the key (`parse.parse` adds it as the id).
    Raises UserError if the file has another form.
    """
    head = _read_head(path)
    form = detect_form(path, head, fields, key)
    records, others = find_openings(head[form.begin :], fields)
    openings = Openings(tuple(records), tuple(others), form.kind == "by id", fields=fields)
    with open_file(path) as file:
        match form.kind:
            case "lines":
                yield from line_spans(file, form.begin, openings, max_bytes, window)
            case "values":
                yield from value_spans(file, form.begin, openings, max_bytes)
            case _:
                array = _Array(path, form, fields if key is None else frozenset())
                yield from _ArrayScan(file, array, openings, max_bytes, window).spans()


def _read_head(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise UserError(path, "does not exist", "materialize its raw asset") from None


class _Array(NamedTuple):
    """An array or object that holds the records.

    `fields` are those of a record if a second array of records after this one is an error.
    """

    path: Path
    form: Form
    fields: frozenset[str]


class _ArrayScan:
    """Finds the elements of an array or object.

    The work of searching for ends, and for records after damage, is bounded by a multiple of the
    bytes done, so that the time is linear in the size of any input. Beyond that bound, the text is
    cut wherever a record seems to begin.
    """

    def __init__(
        self, file: BinaryIO, array: _Array, openings: Openings, max_bytes: int, window: int
    ) -> None:
        self._file, self._array, self._openings = file, array, openings
        self._max_bytes, self._window = max_bytes, window
        self._finder = RecordFinder(file, openings, max_bytes)
        head = read_at(file, array.form.begin, _HEAD_BYTES)
        self._separator = None if openings.by_id else find_separator(head, openings.records)
        self._work = 0

    def spans(self) -> Iterator[Spans]:
        """Yield the spans of all elements, and of what follows the end."""
        state, size = state_before(self._array.form.begin), self._window
        while True:
            for sound in split_valid_windows(
                self._file, state.element_start, size, self._window, self._separator
            ):
                yield sound
                state, size = state_before(int(sound.ends[-1]) + 1), self._window
            block = read_block(self._file, state.position, size)
            spans, after = scan(block, state)
            self._work += 2 * len(block)
            lost = find_lost_span(self._file, spans, self._finder)
            if lost is not None:
                begin, spans = int(spans.starts[lost]), spans.select(slice(lost))
            elif after.closed and self._is_end(spans, after.position):
                yield self._without_empty_end(self._without_fields_around(spans, after.position))
                yield from self._after_array(after.position)
                return
            else:
                # More follows a bracket that seemed to close the array: it was superfluous.
                spans = spans.select(slice(-1)) if after.closed else spans
                begin = after.element_start
            if len(spans.starts):
                yield spans
            if lost is None and block and not after.closed:
                if after.position - begin <= self._max_bytes:
                    state, size = after, min(2 * size, self._window)
                    continue
                if (beyond := self._after_blank(begin)) > begin:
                    state = state_before(beyond)
                    continue
            self._work += _DAMAGE_WORK_BYTES
            found, resume = self._recover(begin)
            if found:
                yield Spans(*np.array(found, np.int64).T)
            if resume is None:
                return
            state, size = state_before(resume), min(_FIRST_WINDOW_BYTES, self._window)

    def _recover(self, begin: int) -> tuple[list[tuple[int, int]], int | None]:
        """Return the spans from damage on, and where the scan resumes."""
        allowed = WORK_FACTOR * (self._max_bytes + begin - self._array.form.begin)
        if self._work + self._finder.text_window.work < allowed:
            return recover_spans(self._file, self._finder, begin, self._max_bytes)
        return cut_at_openings(self._file, self._finder, begin, begin + self._window)

    def _after_blank(self, begin: int) -> int:
        """Skip whole blocks of white space before an element."""
        while (block := read_at(self._file, begin, BLOCK_BYTES)) and not block.strip():
            begin += len(block)
        return begin

    def _is_end(self, spans: Spans, position: int) -> bool:
        """Return whether the bracket before `position` closes the array, not a damaged record."""
        rest = read_at(self._file, position - 1, _HEAD_BYTES)
        if rest[:1] != (b"}" if self._openings.by_id else b"]"):
            return len(rest) < _HEAD_BYTES and not rest[1:].strip(_BLANK)
        following = self._finder.next_record(position)
        if following is not None and (self._openings.by_id or self._array.form.keys):
            between = read_at(self._file, position, min(following - position, BLOCK_BYTES))
            if not _ELSEWHERE.search(between):
                return False
        for start, end in zip(spans.starts[::-1].tolist(), spans.ends[::-1].tolist(), strict=True):
            if last := read_at(self._file, start, end - start).strip():
                return following is None or not isinstance(parse(last), Verdict)
        return True

    def _after_array(self, position: int) -> Iterator[Spans]:
        """Handle what follows an array: more records, the ends of enclosing objects, or damage."""
        form = self._array.form
        if form.kind == "array" and not form.keys:
            yield from value_spans(self._file, position, self._openings, self._max_bytes)
            return
        rest = read_at(self._file, position, _HEAD_BYTES)
        begin = position
        for _ in form.keys if form.kind == "array" else form.keys[:-1]:
            size = len(rest)
            rest = _after_object(rest, self._array)
            begin += size - len(rest)
        tail = rest.strip(_BLANK).lstrip(b"]};,")
        if tail and self._finder.next_record(begin) is not None:
            problem = f"has {tail[:24]!r} after the end of its records"
            raise UserError(
                self._array.path, problem, "write the records alone, as one array or one a line"
            )
        if tail.strip(_BLANK + b"]};,"):
            yield from value_spans(self._file, begin, self._openings, self._max_bytes)

    def _without_fields_around(self, spans: Spans, position: int) -> Spans:
        """Remove trailing fields of the enclosing object, whose end was taken for the array's.

        This happens if the last record lacks a brace and the array's bracket closes it instead.
        """
        if self._openings.by_id or read_at(self._file, position - 1, 1) != b"}":
            return spans
        count = len(spans.starts)
        while count:
            start, end = int(spans.starts[count - 1]), int(spans.ends[count - 1])
            if not _FIELD.match(read_at(self._file, start, min(end - start, _HEAD_BYTES))):
                break
            count -= 1
        return spans.select(slice(count))

    def _without_empty_end(self, spans: Spans) -> Spans:
        """Remove a last span of white space: an empty array, or a trailing comma."""
        if not len(spans.starts):
            return spans
        start, end = int(spans.starts[-1]), int(spans.ends[-1])
        empty = end - start <= WINDOW_BYTES and not read_at(self._file, start, end - start).strip()
        return spans.select(slice(-1)) if empty else spans


def _after_object(rest: bytes, array: _Array) -> bytes:
    """Return what follows the object around an array; its other fields are not records."""
    text = rest.decode("latin-1")
    depth, end = 1, len(rest)
    for bracket in _BRACKET.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(bracket.group(), 0)
        if depth == 0:
            end = bracket.end()
            break
    fields = text[:end].lstrip(" \t\r\n,")
    around = find_first_record("{" + fields, 0, array.fields) if array.fields else None
    if around:
        names = f"{'/'.join(array.form.keys)} and {'/'.join(keys_around(around))}"
        problem = f"holds records in more than one place: {names}"
        raise UserError(array.path, problem, "write each into a separate file, or all as one array")
    return rest[end:]
