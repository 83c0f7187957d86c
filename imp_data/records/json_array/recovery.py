"""A stretch of a file in which something is damaged, cut so that each record has its own span."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO

import orjson

from imp_data.ledger import Verdict
from imp_data.records.json_array.anchors import Anchors, Beginnings
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.spans import BLOCK_BYTES, Spans, read_at

# White space, commas, brackets, a separator and zero bytes are no record's, wherever they stand.
_NOTHING = b" \t\r\n,;[]{}\0\x1e"
_OBJECT = re.compile(rb'\{\s*+"')
# A key where a record seemed to have ended.
_KEY = re.compile(rb'[\s,]*+"((?:[^"\\]++|\\.)*+)"\s*+:', re.DOTALL)
_BLANK = b" \t\r\n\0,"
# Between two objects, of which the second may begin in a way that is damaged.
_SEAM = re.compile(
    rb'(?:[}\]]\s*+,?\s*+|\][\s,]*+\[\s*+)((?:"(?:[^"\\]++|\\.)*+"\s*+:\s*+)?+)\{', re.DOTALL
)
_ODD_CHARACTERS = 2
_LONGEST_BEGINNING = 64
_LOOKED_AHEAD = 1 << 12
_LOOKED_BACK = 256


def recovered(
    file: BinaryIO, anchors: Anchors, begin: int, most: int
) -> tuple[list[tuple[int, int]], int | None]:
    """The spans from a place on where something is damaged, and where a record begins after it.

    A record that stands there whole has a span; so has each that is damaged, and what is none.
    """
    sound = anchors.record_at(begin)
    until = anchors.after(sound.end if sound else _first(file, begin) + 1)
    if sound is not None:
        size = _LOOKED_AHEAD if until is None else min(until - sound.end, BLOCK_BYTES)
        between = read_at(file, sound.end, size)
        if until is None or between.translate(None, _NOTHING):
            sound = None if _goes_on(sound.value, between) else sound
    spans = [] if sound is None else [(sound.start, sound.end)]
    rest = begin if sound is None else sound.end
    if sound is None and until is not None and not _has_object(file, begin, until):
        # A bracket or quote too many before a record that cannot be read is that record's own.
        until = until if anchors.record_at(until) else anchors.after(until + 1)
    stop = file.seek(0, 2) if until is None else until
    if _has_something(file, rest, stop):
        spans += split(file, anchors, rest, stop, most)
    return spans, until


def pieces(
    file: BinaryIO, anchors: Anchors, begin: int, until: int
) -> tuple[list[tuple[int, int]], int | None]:
    """Spans from a place on up to another, cut by how records begin and what stands before them.

    None of them is read: it is the reader's business to see which are JSON.
    """
    spans = []
    following: int | None = begin
    while following is not None and following < until:
        following = anchors.surely_after(begin + 1)
        stop = file.seek(0, 2) if following is None else following
        text = read_at(file, max(begin, stop - BLOCK_BYTES), min(stop - begin, BLOCK_BYTES))
        spans.append((begin, stop - len(text) + len(text.rstrip(b" \t\r\n,[]\0\x1e"))))
        begin = stop
    return spans, following


def lost_at(file: BinaryIO, spans: Spans, anchors: Anchors) -> int | None:
    """The first span in which the scan lost its way; None if it kept it.

    Such a span is no JSON, and the next record does not begin where the span ends: its brackets or
    quotes do not balance, or balance with another's. Or a record seems to begin within it, or it is
    JSON only as it lacks the bracket that another one gave it. Where no record follows, it is the
    last element, unless objects follow.
    """
    begins = anchors.begins
    if not begins.records or not len(spans.starts):
        return None
    base = int(spans.starts[0])
    block = read_at(file, base, int(spans.ends[-1]) - base)
    starts, ends = (spans.starts - base).tolist(), (spans.ends - base).tolist()
    pattern = re.compile(rb"[\s\x00]*+(?:" + begins.spelled() + rb")", re.DOTALL)
    # Where each span begins as elements do, and nothing else does, only the last end is in doubt.
    plain = sum(map(block.count, begins.records)) == len(starts)
    plain = plain and all(pattern.match(block, start) for start in starts)
    last_object = None
    for number in range(len(starts) - 1 if plain else 0, len(starts)):
        element = block[starts[number] : ends[number]]
        if _is_sound(element, begins):
            continue
        after = anchors.after(base + ends[number] - len(element.lstrip(_BLANK)) + 1)
        if after is None and number + 1 < len(starts):
            if last_object is None:
                last_object = _last_object(block, starts, ends)
            if last_object <= number:
                return number
            continue
        elsewhere = after is not None and not _follows(file, base + ends[number], after)
        if elsewhere or hidden_in(element, anchors):
            return number
    return None


def _is_sound(element: bytes, begins: Beginnings) -> bool:
    try:
        value = orjson.loads(element)
    except orjson.JSONDecodeError:
        if not _may_be_object(element):
            return False
        parsed = parse(element)
        if isinstance(parsed, Verdict):
            return False
        value = parsed[0]
    return begins.is_record(value) or not begins.holds_record(value)


def _may_be_object(element: bytes) -> bool:
    """Whether an object begins here, perhaps behind its id."""
    return element.lstrip(_BLANK)[:1] in (b"{", b'"')


def _last_object(block: bytes, starts: list[int], ends: list[int]) -> int:
    """The number of the last span that is an object; -1 if none is."""
    for number in reversed(range(len(starts))):
        element = block[starts[number] : ends[number]]
        found = parse(element) if _may_be_object(element) else None
        if isinstance(found, tuple) and isinstance(found[0], dict):
            return number
    return -1


def _follows(file: BinaryIO, end: int, after: int) -> bool:
    """Whether nothing but a comma stands between the end of a span and the next record."""
    between = read_at(file, end, min(after - end, BLOCK_BYTES)) if after > end else b""
    return between.strip() == b","


def _first(file: BinaryIO, begin: int) -> int:
    """Past the white space before an element, as far as it is of a usual length."""
    head = read_at(file, begin, _LOOKED_AHEAD)
    return begin + len(head) - len(head.lstrip(_BLANK))


def _goes_on(record: dict[str, Any], after: bytes) -> bool:
    """Whether what follows is another field of the record, not one of the next, or its id."""
    found = _KEY.match(after)
    if found is None or not after[found.end() :].strip():
        return False
    return found.group(1).decode("latin-1") not in record


def _has_object(file: BinaryIO, begin: int, until: int) -> bool:
    return bool(_OBJECT.search(read_at(file, begin, min(until - begin, BLOCK_BYTES))))


def _has_something(file: BinaryIO, begin: int, until: int) -> bool:
    """Whether there is more than what may stand between records."""
    while begin < until:
        block = read_at(file, begin, min(until - begin, BLOCK_BYTES))
        if block.translate(None, _NOTHING):
            return True
        begin += max(len(block), 1)
    return False


def split(
    file: BinaryIO, anchors: Anchors, begin: int, until: int, most: int
) -> list[tuple[int, int]]:
    """What is damaged, cut where a record seems to begin whose first key is damaged too."""
    if until - begin > most:
        return [(begin, until)]
    text = read_at(file, begin, until - begin)
    end = begin + len(text.rstrip(b" \t\r\n,\0\x1e"))
    bounds = [begin, *(begin + place for place in hidden_in(text, anchors)), end]
    return list(pairwise(bounds))


def hidden_in(text: bytes, anchors: Anchors) -> list[int]:
    """Where records seem to begin, as their beginnings are or resemble those of sound ones."""
    begins = anchors.begins
    alike = {
        seam.start(1)
        for seam in _SEAM.finditer(text)
        if bool(seam.group(1)) == begins.by_id
        and _resembles(text[seam.end() - 1 : seam.end() + _LONGEST_BEGINNING], begins)
    }
    return sorted(alike.union(_behind_a_cut(text, anchors)))


def _behind_a_cut(text: bytes, anchors: Anchors) -> Iterator[int]:
    """Where records begin behind one that breaks off: in no field, nor first in a list."""
    for found in anchors.pattern.finditer(text, 1) if anchors.pattern else ():
        before = text[max(found.start() - _LOOKED_BACK, 0) : found.start()].rstrip()[-1:]
        if before not in (b"", b":", b"[", b"{"):
            yield found.start()


def _resembles(text: bytes, begins: Beginnings) -> bool:
    records = [record for record in begins.records if len(record) <= len(text)]
    odd = min((_odd(text, record) for record in records), default=0)
    return 0 < odd <= _ODD_CHARACTERS and all(_odd(text, other) > odd for other in begins.others)


def _odd(text: bytes, model: bytes) -> int:
    """In how many characters a beginning differs from another: wrong, missing or too many."""
    row = list(range(len(model) + 1))
    fewest = len(model)
    for number, byte in enumerate(text[: len(model) + _ODD_CHARACTERS], 1):
        above, row[0] = row[0], number
        for place, wanted in enumerate(model, 1):
            above, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, above + (byte != wanted)),
            )
        fewest = min(fewest, row[-1])
    return fewest
