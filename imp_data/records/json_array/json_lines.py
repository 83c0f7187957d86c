"""JSON values one after another, whatever stands between them, and lines that each hold one.

Lines are told apart by their newlines wherever each begins and ends as a record does. Elsewhere,
and in the rarer forms, a decoder finds where each value ends; a damaged one ends where the next
record begins. Text is read as Latin-1, in which a character is a byte: structure is all in ASCII.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import orjson

from imp_data.records.json_array.anchors import PATIENCE, Anchors, Beginnings
from imp_data.records.json_array.recovery import pieces, recovered
from imp_data.records.json_array.spans import BLOCK_BYTES, MOST_BYTES, Offsets, Spans, read_at
from imp_data.records.json_array.text_window import Value

_AT_ONCE = 2048
# What may stand between two records: also brackets of the arrays that they are in, the zero bytes
# of a file that was not written to its end, and RFC 7464's separator.
_BETWEEN = " \t\r\n,\x00\x1e\\[\\]}"
_FIRST = re.compile(f"[^{_BETWEEN}]")
_COLON = re.compile(r"\s*+:")
_LINE_END = re.compile(r"[ \t\r]*+,?[ \t\r]*+(?:\n|\Z)")


def value_spans(
    file: BinaryIO, begin: int, begins: Beginnings, most: int = MOST_BYTES
) -> Iterator[Spans]:
    """The spans of values that follow one another from `begin` on."""
    yield from _in_arrays(_Reader(file, begins, most).spans(begin, None))


def line_spans(
    file: BinaryIO,
    begin: int,
    begins: Beginnings,
    most: int = MOST_BYTES,
    window: int = BLOCK_BYTES,
) -> Iterator[Spans]:
    """The spans of records of which, as a rule, each has a line of its own."""
    reader = _Reader(file, begins._replace(in_lines=True), most)
    opening = begins.records[0] if begins.records else None
    while block := _whole_lines(file, begin, window, most):
        lines = _lines(block)
        sound = _sound(block, lines, opening)
        done = begin
        for first, last, is_sound in _runs(sound):
            starts, ends = lines.starts[first:last] + begin, lines.ends[first:last] + begin
            if is_sound:
                fresh = starts >= done
                yield Spans(starts[fresh], ends[fresh])
                continue
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                if start >= done:
                    for spans in _in_arrays(reader.spans(start, end)):
                        done = int(spans.ends[-1])
                        yield spans
        begin = max(begin + len(block), done)


def _in_arrays(spans: Iterator[tuple[int, int]]) -> Iterator[Spans]:
    while some := list(islice(spans, _AT_ONCE)):
        yield Spans(*np.array(some, np.int64).T)


def _whole_lines(file: BinaryIO, begin: int, window: int, most: int) -> bytes:
    """Some bytes, up to a newline or the end of the file; or a line's first, if it is long."""
    while len(block := read_at(file, begin, window)) == window and window <= most:
        if b"\n" in block:
            at_end = len(file.read(1)) == 0
            return block if at_end else block[: block.rindex(b"\n") + 1]
        window *= 2
    return block


def _lines(block: bytes) -> Spans:
    """The lines, but for the empty ones."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts > 1).all():
        return Spans(starts, ends)
    octets = np.frombuffer(block, np.uint8)
    blank = (ends == starts) | ((ends == starts + 1) & (octets[starts] <= ord(" ")))
    return Spans(starts[~blank], ends[~blank])


def _sound(block: bytes, lines: Spans, opening: bytes | None) -> npt.NDArray[np.bool_]:
    """The lines that certainly hold one record: by how they begin and end, or by being parsed."""
    found = np.zeros(len(lines.starts), np.bool_)
    if opening is not None:
        octets = np.frombuffer(block + bytes(len(opening)), np.uint8)
        last, before = (octets[np.maximum(lines.ends - n, 0)] for n in (1, 2))
        begins = _places(octets, opening)
        several = np.concatenate((begins, _places(octets, b"}{")))
        at = np.searchsorted(lines.starts, several, side="right") - 1
        found = np.bincount(at, minlength=len(found)) == 1
        found &= (last == ord("}")) | ((last == ord("\r")) & (before == ord("}")))
        found &= np.isin(lines.starts, begins, assume_unique=True)
    for number in np.flatnonzero(~found).tolist():
        found[number] = _is_one_value(block[lines.starts[number] : lines.ends[number]])
    return found


def _places(octets: npt.NDArray[np.uint8], text: bytes) -> Offsets:
    """Where a text of two bytes or more begins: a search for pairs is the fastest there is."""
    pair = np.frombuffer(text[:2], np.uint16)[0]
    sides = (octets[n : n + (len(octets) - n) // 2 * 2].view(np.uint16) == pair for n in (0, 1))
    places = np.sort(np.concatenate([2 * np.flatnonzero(s) + n for n, s in enumerate(sides)]))
    places = places[places + len(text) <= len(octets)]
    rest = np.frombuffer(text[2:], np.uint8)
    found: Offsets = places[
        (octets[places[:, None] + 2 + np.arange(len(rest))] == rest).all(axis=1)
    ]
    return found


def _is_one_value(line: bytes) -> bool:
    """Whether a line is one value, which an array of objects is not: it holds several records."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    several = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    return not several


def _runs(sound: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, bool]]:
    """[first, last) of each run of lines that are all sound, or all not."""
    bounds: Offsets = np.flatnonzero(np.diff(sound)) + 1
    for first, last in zip([0, *bounds.tolist()], [*bounds.tolist(), len(sound)], strict=True):
        if first < last:
            yield first, last, bool(sound[first])


class _Reader:
    """Finds where values end, one after another.

    All that is looked at in search of ends is bounded by some times what is done; where that is
    used up, a value is what stands up to the next that begins as a record does.
    """

    def __init__(self, file: BinaryIO, begins: Beginnings, most: int) -> None:
        self._file, self._begins, self._most = file, begins, most
        self._anchors = Anchors(file, begins, most)
        self._stretch = self._anchors.stretch
        self._line_end, self._done = -1, 0

    def spans(self, begin: int, until: int | None) -> Iterator[tuple[int, int]]:
        """Values up to the end of the file, or to that of the line in which `until` is."""
        position = self._skip(begin, until)
        while position is not None and (until is None or position < until):
            if self._stretch.work > PATIENCE * (self._most + self._done):
                found, following = pieces(self._file, self._anchors, position, position + 1)
            else:
                found, following = self._next(position)
            yield from found
            end = following if following is not None else self._after(found, position)
            self._done += max(end - position, 0)
            if until is not None and end > until + 1:
                until = self._end_of_line(end)
            position = self._skip(end, until)

    def _after(self, found: list[tuple[int, int]], position: int) -> int:
        """Where to go on after these; past the end, where they are what is left of a file."""
        return found[-1][1] if found else self._file.seek(0, 2)

    def _next(self, position: int) -> tuple[list[tuple[int, int]], int | None]:
        """The value that begins here; or what is made of damage, and where a record follows it."""
        found = self._stretch.value(position)
        if found is not None and self._is_clean(found):
            return [(position, found.end)], None
        return recovered(self._file, self._anchors, position, self._most)

    def _skip(self, position: int, until: int | None) -> int | None:
        """The next place that is not between values; None if there is none, up to `until`."""
        while until is None or position < until:
            self._stretch.load(position)
            text, base = self._stretch.text, self._stretch.base
            end = len(text) if until is None else min(until - base, len(text))
            found = _FIRST.search(text, position - base, end)
            if found:
                return base + found.start()
            if self._stretch.at_end:
                break
            position = base + len(text)
        return None

    def _is_clean(self, found: Value) -> bool:
        """Whether another value follows, or nothing: not the rest of a record that was cut."""
        if self._begins.in_lines and self._ends_line(found.end):
            return True
        following = self._skip(found.end, None)
        if following is None or self._stretch.text[following - self._stretch.base] == "{":
            return True
        after = self._stretch.value(following)
        if after is None:
            return False
        self._stretch.load(after.end)
        return _COLON.match(self._stretch.text, after.end - self._stretch.base) is None

    def _ends_line(self, position: int) -> bool:
        """Whether at most a comma stands between a place and the end of its line."""
        self._stretch.load(position)
        found = _LINE_END.match(self._stretch.text, position - self._stretch.base)
        if found and found.end() == len(self._stretch.text) and not self._stretch.at_end:
            self._stretch.load(position, BLOCK_BYTES)
            found = _LINE_END.match(self._stretch.text)
        return found is not None

    def _end_of_line(self, position: int) -> int:
        """Where the next newline is, or the file's end."""
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
