"""JSON values one after another, whatever stands between them, and lines that each hold one.

Lines are told apart by their newlines wherever each begins and ends as a record does. Elsewhere,
and in the rarer forms, a decoder finds where each value ends; a damaged one ends where the next
record begins. Text is read as Latin-1, in which a character is a byte: structure is all in ASCII.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import orjson

from imp_data.layouts.damage import BLOCK_BYTES, MOST_BYTES, Offsets, Spans, read_at

_AT_ONCE = 2048
_DECODER = json.JSONDecoder(strict=False)
# What may stand between two records: also brackets of the arrays that they are in, the zero bytes
# of a file that was not written to its end, and RFC 7464's separator.
_BETWEEN = " \t\r\n,\x00\x1e\\[\\]}"
_FIRST = re.compile(f"[^{_BETWEEN}]")
_OBJECT = re.compile(r'\{\s*"')
_COLON = re.compile(r"\s*:")
# An error so near to the end of what was read may come from that end alone: as in `tru` or `\u12`.
_NEAR_END = 16


def value_spans(file: BinaryIO, begin: int, opening: bytes | None) -> Iterator[Spans]:
    """The spans of values that follow one another from `begin` on."""
    spans = _Reader(file, opening, in_lines=False).spans(begin, None)
    while some := list(islice(spans, _AT_ONCE)):
        yield Spans(*np.array(some, np.int64).T)


def line_spans(
    file: BinaryIO, begin: int, opening: bytes | None, window: int = BLOCK_BYTES
) -> Iterator[Spans]:
    """The spans of records of which, as a rule, each has a line of its own."""
    reader = _Reader(file, opening, in_lines=True)
    while block := _whole_lines(file, begin, window):
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
                if start >= done and (some := list(reader.spans(start, end))):
                    done = some[-1][1]
                    yield Spans(*np.array(some, np.int64).T)
        begin = max(begin + len(block), done)


def _whole_lines(file: BinaryIO, begin: int, window: int) -> bytes:
    """Some bytes, up to a newline or the end of the file."""
    block = read_at(file, begin, window)
    while len(block) >= window and b"\n" not in block[-window:] and len(block) < MOST_BYTES:
        more = file.read(window)
        if not more:
            return block
        block += more
    at_end = len(read_at(file, begin + len(block), 1)) == 0
    return block if at_end or b"\n" not in block else block[: block.rindex(b"\n") + 1]


def _lines(block: bytes) -> Spans:
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    return Spans(np.concatenate(([0], ends[:-1] + 1)), ends)


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
    """Finds where values end, in a stretch of the file that grows as far as one value needs."""

    def __init__(self, file: BinaryIO, opening: bytes | None, in_lines: bool) -> None:
        self._file, self._in_lines = file, in_lines
        self._base, self._text, self._at_end = 0, "", False
        self._overlap = _NEAR_END + len(opening or b"")
        begins = [rf"(?={re.escape(opening.decode('latin-1'))})"] if opening else []
        # Where records have lines of their own, one begins with a line even if it is damaged.
        begins += [r"(?<=\n)(?=[ \t\x1e]*\{)"] if in_lines else []
        self._next = re.compile("|".join(begins)) if begins else None

    def spans(self, begin: int, until: int | None) -> Iterator[tuple[int, int]]:
        """Values up to the end of the file, or to that of the line in which `until` is."""
        position = self._skip(begin)
        while position is not None and (until is None or position < until):
            end = self._value_end(position)
            if end is None or not self._is_clean(end):
                end = self._damage_end(position)
            yield position, end
            if until is not None and end > until + 1:
                until = end + len(self._rest_of_line(end))
            position = self._skip(end)

    def _skip(self, position: int) -> int | None:
        """The next place that is not between values; None if there is none."""
        while True:
            self._load(position)
            found = _FIRST.search(self._text, position - self._base)
            if found:
                return self._base + found.start()
            position = self._base + len(self._text)
            if self._at_end:
                return None

    def _load(self, position: int, size: int = 0) -> None:
        """Have the text from a position on at hand; at least so much of it, if a size is given."""
        if size or not self._base <= position < self._base + len(self._text):
            data = read_at(self._file, position, size or BLOCK_BYTES)
            self._base, self._text = position, data.decode("latin-1")
            self._at_end = len(data) < (size or BLOCK_BYTES)

    def _extend(self, position: int) -> bool:
        """Have more text from a position on at hand; False where a record is never so long."""
        size = BLOCK_BYTES if self._base < position else 2 * len(self._text)
        if size > MOST_BYTES:
            return False
        self._load(position, size)
        return True

    def _value_end(self, position: int) -> int | None:
        """Where the value ends that begins here; None if it is none, or too long for a record."""
        self._load(position)
        while True:
            try:
                end: int = _DECODER.raw_decode(self._text, position - self._base)[1]
                cut_off = end == len(self._text)  # perhaps after a number's first digits
            except RecursionError:
                return None
            except json.JSONDecodeError as error:
                end, cut_off = -1, _is_cut_off(error, len(self._text))
            if self._at_end or not cut_off:
                return None if end < 0 else self._base + end
            if not self._extend(position):
                return None

    def _is_clean(self, end: int) -> bool:
        """Whether another value follows, or nothing: not the rest of a record that was cut."""
        if self._in_lines and self._rest_of_line(end).strip() in ("", ","):
            return True
        following = self._skip(end)
        if following is None or self._text[following - self._base] == "{":
            return True
        after = self._value_end(following)
        return after is not None and _COLON.match(self._text, after - self._base) is None

    def _rest_of_line(self, position: int) -> str:
        self._load(position)
        if "\n" not in self._text[position - self._base :] and not self._at_end:
            self._extend(position)
        within = position - self._base
        newline = self._text.find("\n", within)
        return self._text[within : newline if newline >= 0 else len(self._text)]

    def _damage_end(self, position: int) -> int:
        """Where the next record begins that does not belong to this one; else the file's end."""
        start, met_object = position, False
        while self._next is not None:
            self._load(start)
            for found in self._next.finditer(self._text, start + 1 - self._base):
                before = self._text[start - self._base : found.start()]
                met_object = met_object or bool(_OBJECT.search(before))
                # A bracket or quote too many before a record belongs to that record.
                if met_object or (self._in_lines and before.endswith("\n")):
                    return self._base + found.start()
            if self._at_end:
                break
            met_object = met_object or bool(_OBJECT.search(self._text, start - self._base))
            start = max(start + 1, self._base + len(self._text) - self._overlap)
            self._load(start, BLOCK_BYTES)
        return self._file.seek(0, 2)


def _is_cut_off(error: json.JSONDecodeError, length: int) -> bool:
    """Whether the error may come from the end of the text that was read."""
    return error.msg.startswith("Unterminated") or error.pos >= length - _NEAR_END
