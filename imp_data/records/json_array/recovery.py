"""Split damaged parts of a JSON file so that each record has its own span."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO

import orjson

from imp_data.ledger import Verdict
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.record_finder import Openings, RecordFinder
from imp_data.records.json_array.spans import BLOCK_BYTES, Spans, read_at

# White space, commas, brackets, a separator and zero bytes belong to no record.
_NOTHING = b" \t\r\n,;[]{}\0\x1e"
_OBJECT = re.compile(rb'\{\s*+"')
# A key after the end of a record as far as it could be read.
_KEY = re.compile(rb'[\s,]*+"((?:[^"\\]++|\\.)*+)"\s*+:', re.DOTALL)
_BLANK = b" \t\r\n\0,"
# Between two objects; the beginning of the second may be damaged.
_SEPARATOR = re.compile(
    rb'(?:[}\]]\s*+,?\s*+|\][\s,]*+\[\s*+)((?:"(?:[^"\\]++|\\.)*+"\s*+:\s*+)?+)\{', re.DOTALL
)
_MAX_DISTANCE = 2
_MAX_OPENING_BYTES = 64
_LOOKAHEAD_BYTES = 1 << 12
_LOOKBACK_BYTES = 256


def recover_spans(
    file: BinaryIO, finder: RecordFinder, begin: int, max_bytes: int
) -> tuple[list[tuple[int, int]], int | None]:
    """Return the spans from damage on, and where the next record begins.

    A complete record at `begin` has a span; so has each damaged one, and text that is no record.
    """
    sound = finder.record_at(begin)
    until = finder.next_record(sound.end if sound else _skip_blank(file, begin) + 1)
    if sound is not None:
        size = _LOOKAHEAD_BYTES if until is None else min(until - sound.end, BLOCK_BYTES)
        between = read_at(file, sound.end, size)
        if until is None or between.translate(None, _NOTHING):
            sound = None if _continues(sound.value, between) else sound
    spans = [] if sound is None else [(sound.start, sound.end)]
    rest = begin if sound is None else sound.end
    if sound is None and until is not None and not _has_object(file, begin, until):
        # A superfluous bracket or quote before an unreadable record belongs to that record.
        until = until if finder.record_at(until) else finder.next_record(until + 1)
    stop = file.seek(0, 2) if until is None else until
    if _has_something(file, rest, stop):
        spans += split_damaged(file, finder, rest, stop, max_bytes)
    return spans, until


def cut_at_openings(
    file: BinaryIO, finder: RecordFinder, begin: int, until: int
) -> tuple[list[tuple[int, int]], int | None]:
    """Cut the text between two positions where records begin, by their openings and context.

    The records are not parsed: the reader finds out which are JSON.
    """
    spans = []
    following: int | None = begin
    while following is not None and following < until:
        following = finder.next_separated(begin + 1)
        stop = file.seek(0, 2) if following is None else following
        text = read_at(file, max(begin, stop - BLOCK_BYTES), min(stop - begin, BLOCK_BYTES))
        spans.append((begin, stop - len(text) + len(text.rstrip(b" \t\r\n,[]\0\x1e"))))
        begin = stop
    return spans, following


def find_lost_span(file: BinaryIO, spans: Spans, finder: RecordFinder) -> int | None:
    """Return the first span at which the scan lost its way; None if there is none.

    Such a span is not JSON, and no record begins at its end: its brackets or quotes do not
    balance, or balance with those of another. Or a record seems to begin inside it, or it is JSON
    only because it lacks a bracket that another record supplied. The last element may be followed
    by no record, unless objects follow.
    """
    openings = finder.openings
    if not openings.records or not len(spans.starts):
        return None
    base = int(spans.starts[0])
    block = read_at(file, base, int(spans.ends[-1]) - base)
    starts, ends = (spans.starts - base).tolist(), (spans.ends - base).tolist()
    pattern = re.compile(rb"[\s\x00]*+(?:" + openings.to_pattern() + rb")", re.DOTALL)
    # If each span begins as records do, and nothing else does, only the last end is in doubt.
    plain = sum(map(block.count, openings.records)) == len(starts)
    plain = plain and all(pattern.match(block, start) for start in starts)
    last_object = None
    for number in range(len(starts) - 1 if plain else 0, len(starts)):
        element = block[starts[number] : ends[number]]
        if _is_sound(element, openings):
            continue
        after = finder.next_record(base + ends[number] - len(element.lstrip(_BLANK)) + 1)
        if after is None and number + 1 < len(starts):
            if last_object is None:
                last_object = _last_object(block, starts, ends)
            if last_object <= number:
                return number
            continue
        elsewhere = after is not None and not _follows(file, base + ends[number], after)
        if elsewhere or find_hidden_records(element, finder):
            return number
    return None


def _is_sound(element: bytes, openings: Openings) -> bool:
    try:
        value = orjson.loads(element)
    except orjson.JSONDecodeError:
        if not _may_be_object(element):
            return False
        parsed = parse(element)
        if isinstance(parsed, Verdict):
            return False
        value = parsed[0]
    return openings.is_record(value) or not openings.holds_record(value)


def _may_be_object(element: bytes) -> bool:
    """Return whether an object begins here, possibly after its id."""
    return element.lstrip(_BLANK)[:1] in (b"{", b'"')


def _last_object(block: bytes, starts: list[int], ends: list[int]) -> int:
    """Return the number of the last span that is an object; -1 if none is."""
    for number in reversed(range(len(starts))):
        element = block[starts[number] : ends[number]]
        found = parse(element) if _may_be_object(element) else None
        if isinstance(found, tuple) and isinstance(found[0], dict):
            return number
    return -1


def _follows(file: BinaryIO, end: int, after: int) -> bool:
    """Return whether only a comma separates the end of a span from the next record."""
    between = read_at(file, end, min(after - end, BLOCK_BYTES)) if after > end else b""
    return between.strip() == b","


def _skip_blank(file: BinaryIO, begin: int) -> int:
    """Skip the white space before an element, up to a usual length."""
    head = read_at(file, begin, _LOOKAHEAD_BYTES)
    return begin + len(head) - len(head.lstrip(_BLANK))


def _continues(record: dict[str, Any], after: bytes) -> bool:
    """Return whether another field of the record follows, not one of the next record or its id."""
    found = _KEY.match(after)
    if found is None or not after[found.end() :].strip():
        return False
    return found.group(1).decode("latin-1") not in record


def _has_object(file: BinaryIO, begin: int, until: int) -> bool:
    return bool(_OBJECT.search(read_at(file, begin, min(until - begin, BLOCK_BYTES))))


def _has_something(file: BinaryIO, begin: int, until: int) -> bool:
    """Return whether there is more than what may separate records."""
    while begin < until:
        block = read_at(file, begin, min(until - begin, BLOCK_BYTES))
        if block.translate(None, _NOTHING):
            return True
        begin += max(len(block), 1)
    return False


def split_damaged(
    file: BinaryIO, finder: RecordFinder, begin: int, until: int, max_bytes: int
) -> list[tuple[int, int]]:
    """Split damaged text where a record with a damaged first key seems to begin."""
    if until - begin > max_bytes:
        return [(begin, until)]
    text = read_at(file, begin, until - begin)
    end = begin + len(text.rstrip(b" \t\r\n,\0\x1e"))
    bounds = [begin, *(begin + position for position in find_hidden_records(text, finder)), end]
    return list(pairwise(bounds))


def find_hidden_records(text: bytes, finder: RecordFinder) -> list[int]:
    """Return where records seem to begin: an opening equal or similar to those of sound records."""
    openings = finder.openings
    alike = {
        separator.start(1)
        for separator in _SEPARATOR.finditer(text)
        if bool(separator.group(1)) == openings.by_id
        and _resembles(text[separator.end() - 1 : separator.end() + _MAX_OPENING_BYTES], openings)
    }
    return sorted(alike.union(_find_after_break(text, finder)))


def _find_after_break(text: bytes, finder: RecordFinder) -> Iterator[int]:
    """Yield where a record begins after one that breaks off: not in a field nor first in a list."""
    for found in finder.pattern.finditer(text, 1) if finder.pattern else ():
        before = text[max(found.start() - _LOOKBACK_BYTES, 0) : found.start()].rstrip()[-1:]
        if before not in (b"", b":", b"[", b"{"):
            yield found.start()


def _resembles(text: bytes, openings: Openings) -> bool:
    records = [record for record in openings.records if len(record) <= len(text)]
    odd = min((_edit_distance(text, record) for record in records), default=0)
    return 0 < odd <= _MAX_DISTANCE and all(
        _edit_distance(text, other) > odd for other in openings.others
    )


def _edit_distance(text: bytes, model: bytes) -> int:
    """Return the edit distance between the beginning of a text and an opening."""
    row = list(range(len(model) + 1))
    fewest = len(model)
    for number, byte in enumerate(text[: len(model) + _MAX_DISTANCE], 1):
        above, row[0] = row[0], number
        for position, wanted in enumerate(model, 1):
            above, row[position] = (
                row[position],
                min(row[position] + 1, row[position - 1] + 1, above + (byte != wanted)),
            )
        fewest = min(fewest, row[-1])
    return fewest
