"""Find JSON values that follow one another, and records that have a line each.

Newlines separate lines where each line begins and ends as a record does. Elsewhere, and in rarer
forms, a decoder finds the end of each value; a damaged value ends where the next record begins.
Text is decoded as Latin-1, one character per byte: JSON's structure is ASCII only.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import orjson

from imp_data.records.json_array.record_finder import WORK_FACTOR, Openings, RecordFinder
from imp_data.records.json_array.recovery import cut_at_openings, recover_spans
from imp_data.records.json_array.spans import BLOCK_BYTES, MAX_RECORD_BYTES, Offsets, Spans, read_at
from imp_data.records.json_array.text_window import Value

_SPANS_AT_ONCE = 2048
# Allowed between two records: also brackets of arrays around them, the zero bytes of an
# incompletely written file, and RFC 7464's separator.
_BETWEEN = " \t\r\n,\x00\x1e\\[\\]}"
_FIRST = re.compile(f"[^{_BETWEEN}]")
_COLON = re.compile(r"\s*+:")
_LINE_END = re.compile(r"[ \t\r]*+,?[ \t\r]*+(?:\n|\Z)")


def value_spans(
    file: BinaryIO, begin: int, openings: Openings, max_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Spans]:
    """Yield the spans of values that follow one another from `begin` on."""
    yield from _to_arrays(_ValueReader(file, openings, max_bytes).spans(begin, None))


def line_spans(
    file: BinaryIO,
    begin: int,
    openings: Openings,
    max_bytes: int = MAX_RECORD_BYTES,
    window: int = BLOCK_BYTES,
) -> Iterator[Spans]:
    """Yield the spans of records that usually have a line each."""
    reader = _ValueReader(file, openings._replace(in_lines=True), max_bytes)
    opening = openings.records[0] if openings.records else None
    while block := _read_lines(file, begin, window, max_bytes):
        lines = _lines(block)
        sound = _find_sound_lines(block, lines, opening)
        done = begin
        for first, last, is_sound in _runs(sound):
            starts, ends = lines.starts[first:last] + begin, lines.ends[first:last] + begin
            if is_sound:
                fresh = starts >= done
                yield Spans(starts[fresh], ends[fresh])
                continue
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                if start >= done:
                    for spans in _to_arrays(reader.spans(start, end)):
                        done = int(spans.ends[-1])
                        yield spans
        begin = max(begin + len(block), done)


def _to_arrays(spans: Iterator[tuple[int, int]]) -> Iterator[Spans]:
    while some := list(islice(spans, _SPANS_AT_ONCE)):
        yield Spans(*np.array(some, np.int64).T)


def _read_lines(file: BinaryIO, begin: int, window: int, max_bytes: int) -> bytes:
    """Read up to a newline or the end of the file, or the beginning of a line above `max_bytes`."""
    while len(block := read_at(file, begin, window)) == window and window <= max_bytes:
        if b"\n" in block:
            at_end = len(file.read(1)) == 0
            return block if at_end else block[: block.rindex(b"\n") + 1]
        window *= 2
    return block


def _lines(block: bytes) -> Spans:
    """Return the lines that are not empty."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts > 1).all():
        return Spans(starts, ends)
    octets = np.frombuffer(block, np.uint8)
    blank = (ends == starts) | ((ends == starts + 1) & (octets[starts] <= ord(" ")))
    return Spans(starts[~blank], ends[~blank])


def _find_sound_lines(block: bytes, lines: Spans, opening: bytes | None) -> npt.NDArray[np.bool_]:
    """Mark the lines that certainly hold one record: by their beginning and end, or by parsing."""
    found = np.zeros(len(lines.starts), np.bool_)
    if opening is not None:
        octets = np.frombuffer(block + bytes(len(opening)), np.uint8)
        last, before = (octets[np.maximum(lines.ends - n, 0)] for n in (1, 2))
        openings = _find_text(octets, opening)
        several = np.concatenate((openings, _find_text(octets, b"}{")))
        at = np.searchsorted(lines.starts, several, side="right") - 1
        found = np.bincount(at, minlength=len(found)) == 1
        found &= (last == ord("}")) | ((last == ord("\r")) & (before == ord("}")))
        found &= np.isin(lines.starts, openings, assume_unique=True)
    for number in np.flatnonzero(~found).tolist():
        found[number] = _is_one_value(block[lines.starts[number] : lines.ends[number]])
    return found


def _find_text(octets: npt.NDArray[np.uint8], text: bytes) -> Offsets:
    """Return where a text of two or more bytes begins; searching for byte pairs is fastest."""
    pair = np.frombuffer(text[:2], np.uint16)[0]
    sides = (octets[n : n + (len(octets) - n) // 2 * 2].view(np.uint16) == pair for n in (0, 1))
    positions = np.sort(np.concatenate([2 * np.flatnonzero(s) + n for n, s in enumerate(sides)]))
    positions = positions[positions + len(text) <= len(octets)]
    rest = np.frombuffer(text[2:], np.uint8)
    found: Offsets = positions[
        (octets[positions[:, None] + 2 + np.arange(len(rest))] == rest).all(axis=1)
    ]
    return found


def _is_one_value(line: bytes) -> bool:
    """Return whether a line is one value; an array of objects is several records."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    several = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    return not several


def _runs(sound: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, bool]]:
    """Yield [first, last) of each run of lines that are all sound, or all not."""
    bounds: Offsets = np.flatnonzero(np.diff(sound)) + 1
    for first, last in zip([0, *bounds.tolist()], [*bounds.tolist(), len(sound)], strict=True):
        if first < last:
            yield first, last, bool(sound[first])


class _ValueReader:
    """Finds the ends of values that follow one another.

    The work of searching for ends is bounded by a multiple of the bytes done; beyond that bound, a
    value extends to the next text that begins as a record does.
    """

    def __init__(self, file: BinaryIO, openings: Openings, max_bytes: int) -> None:
        self._file, self._openings, self._max_bytes = file, openings, max_bytes
        self._finder = RecordFinder(file, openings, max_bytes)
        self._text_window = self._finder.text_window
        self._line_end, self._done = -1, 0

    def spans(self, begin: int, until: int | None) -> Iterator[tuple[int, int]]:
        """Yield the spans of values up to the end of the file, or of the line with `until`."""
        position = self._skip(begin, until)
        while position is not None and (until is None or position < until):
            if self._text_window.work > WORK_FACTOR * (self._max_bytes + self._done):
                found, following = cut_at_openings(self._file, self._finder, position, position + 1)
            else:
                found, following = self._next(position)
            yield from found
            end = following if following is not None else self._after(found, position)
            self._done += max(end - position, 0)
            if until is not None and end > until + 1:
                until = self._end_of_line(end)
            position = self._skip(end, until)

    def _after(self, found: list[tuple[int, int]], position: int) -> int:
        """Return where to continue after these spans; without any, the end of the file."""
        return found[-1][1] if found else self._file.seek(0, 2)

    def _next(self, position: int) -> tuple[list[tuple[int, int]], int | None]:
        """Return the spans at `position`, and after damage also where the next record begins."""
        found = self._text_window.value(position)
        if found is not None and self._is_clean(found):
            return [(position, found.end)], None
        return recover_spans(self._file, self._finder, position, self._max_bytes)

    def _skip(self, position: int, until: int | None) -> int | None:
        """Return the next position not between values and before `until`; None if there is none."""
        while until is None or position < until:
            self._text_window.load(position)
            text, base = self._text_window.text, self._text_window.base
            end = len(text) if until is None else min(until - base, len(text))
            found = _FIRST.search(text, position - base, end)
            if found:
                return base + found.start()
            if self._text_window.at_end:
                break
            position = base + len(text)
        return None

    def _is_clean(self, found: Value) -> bool:
        """Return whether a value or nothing follows, rather than the rest of a cut record."""
        if self._openings.in_lines and self._ends_line(found.end):
            return True
        following = self._skip(found.end, None)
        if following is None or self._text_window.text[following - self._text_window.base] == "{":
            return True
        after = self._text_window.value(following)
        if after is None:
            return False
        self._text_window.load(after.end)
        return _COLON.match(self._text_window.text, after.end - self._text_window.base) is None

    def _ends_line(self, position: int) -> bool:
        """Return whether at most a comma precedes the end of the line."""
        self._text_window.load(position)
        found = _LINE_END.match(self._text_window.text, position - self._text_window.base)
        if found and found.end() == len(self._text_window.text) and not self._text_window.at_end:
            self._text_window.load(position, BLOCK_BYTES)
            found = _LINE_END.match(self._text_window.text)
        return found is not None

    def _end_of_line(self, position: int) -> int:
        """Return the position of the next newline, or of the file's end."""
        size = 1 << 10
        while position > self._line_end:
            block = read_at(self._file, position, size)
            newline = block.find(b"\n")
            if newline >= 0 or len(block) < size:
                self._line_end = position + (newline if newline >= 0 else len(block))
                break
            position += len(block)
            size = min(2 * size, BLOCK_BYTES)
        return self._line_end
