"""Where quotes or brackets of a JSON file do not balance, and where its elements go on."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from imp_data.layouts.parsing import parse
from imp_data.ledger import Verdict

BLOCK_BYTES = 1 << 20
# Longer than any record of any source by three orders of magnitude: beyond it brackets are lost.
MOST_BYTES = 32 << 20

_OBJECTS_MEASURED = 1024
_DECODER = json.JSONDecoder(strict=False)

Offsets = npt.NDArray[np.int64]

_OBJECT = re.compile(rb'\{\s*"(?:[^"\\]|\\.)*"\s*:')
_WORDS = re.compile(rb'\{|"(?:[^"\\]|\\.)*"|:')
# Stands before each element of an object whose values are the records.
_ID = rb'"(?:[^"\\]|\\.)*"\s*:\s*'


class Spans(NamedTuple):
    """Elements `file[start:end]`, in file order; surrounding white space may be included."""

    starts: Offsets
    ends: Offsets


def read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """The file's bytes from a position on, at most so many."""
    file.seek(position)
    return file.read(size)


def has_most(fields: frozenset[str], keys: Iterable[str]) -> bool:
    """Whether an object with these keys has more than half of the fields that every record has."""
    return 2 * len(fields.intersection(keys)) > len(fields)


def opening_of(head: bytes, fields: frozenset[str] = frozenset()) -> bytes | None:
    """What elements begin with: bracket, key and colon of the longest object in the head.

    Not simply the first element's, which may be the one that is damaged. Objects within elements
    begin with keys too, but they are shorter, and lack the `fields` of a record.
    """
    text = head.decode("latin-1")  # a character a byte
    sizes: dict[bytes, tuple[bool, int]] = {}
    position = 0
    for _ in range(_OBJECTS_MEASURED):
        match = _OBJECT.search(head, position)
        if match is None:
            break
        size, position = _measured(text, match.start(), fields)
        sizes[match.group()] = max(size, sizes.get(match.group(), size))
    return max(sizes, key=lambda opening: sizes[opening], default=None)


def _measured(text: str, start: int, fields: frozenset[str]) -> tuple[tuple[bool, int], int]:
    """Whether a record begins here, how long it is, and where another object may begin.

    Not within this one: a bracket in one of its texts begins none.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (json.JSONDecodeError, RecursionError):
        return (False, 0), start + 1
    return (has_most(fields, value), end - start), end


def taken_up_again(
    file: BinaryIO, begin: int, opening: bytes | None, by_id: bool = False
) -> tuple[Spans | None, int | None]:
    """The element in which the scan lost its way, and where the next one begins, if one does.

    `by_id`: the elements are those of an object, each behind its key.
    """
    found = _next_element(file, begin + 1, opening, by_id) if opening else None
    if found is not None:
        comma, resume = found
        return Spans(*np.array([[begin], [comma]])), resume
    if not read_at(file, begin, BLOCK_BYTES).strip(b"]} \t\r\n\0"):
        return None, None
    return Spans(*np.array([[begin], [file.seek(0, 2)]])), None


def _next_element(
    file: BinaryIO, begin: int, opening: bytes, by_id: bool
) -> tuple[int, int] | None:
    """From `begin` on, where what looks like an element ends, and where the next one begins.

    A comma stands between them; or one array ends and the next begins.
    """
    words = [re.escape(word) for word in _WORDS.findall(opening)]
    before = _ID if by_id else b""
    between = rb"(?:,|\][\s,]*\[)\s*"
    pattern = re.compile(between + rb"(?=" + before + rb"\s*".join(words) + rb")")
    for offset, text in _overlapping(file, begin):
        match = pattern.search(text)
        if match:
            return offset + match.start(), offset + match.end()
    return None


def _overlapping(file: BinaryIO, begin: int) -> Iterator[tuple[int, bytes]]:
    """Blocks from `begin` on that overlap, so that a pattern across an edge is found."""
    step = BLOCK_BYTES // 2
    position = begin
    while text := read_at(file, position, BLOCK_BYTES):
        yield position, text
        position += step


def _is_object(text: bytes) -> bool:
    found = parse(text)
    return not isinstance(found, Verdict) and isinstance(found[0], dict)


def lost_at(file: BinaryIO, spans: Spans, opening: bytes | None, by_id: bool = False) -> int | None:
    """The first span in which the scan lost its way; None if it kept it.

    Such a span is no JSON, and the next text that looks like the beginning of an element is not
    where the span ends: its brackets or quotes do not balance, or balance with another's. Where
    nothing looks so any more, it is the last element, unless objects follow.
    """
    if opening is None or not len(spans.starts):
        return None
    base = int(spans.starts[0])
    block = read_at(file, base, int(spans.ends[-1]) - base)
    starts, ends = (spans.starts - base).tolist(), (spans.ends - base).tolist()
    begins = re.compile(rb"\s*" + (_ID if by_id else b"") + re.escape(opening))
    # Where each span begins as elements do, and nothing else does, only the last end is in doubt.
    plain = block.count(opening) == len(starts) and all(begins.match(block, s) for s in starts)
    for number in range(len(starts) - 1 if plain else 0, len(starts)):
        start, end = starts[number], ends[number]
        try:
            orjson.loads(block[start:end])
        except orjson.JSONDecodeError:
            if isinstance(parse(block[start:end]), Verdict):
                comma = _next_element(file, base + start + 1, opening, by_id)
                following = zip(starts[number + 1 :], ends[number + 1 :], strict=True)
                if comma is None and number + 1 < len(starts):
                    if not any(_is_object(block[begin:until]) for begin, until in following):
                        return number
                elif comma is not None and comma[0] != base + end:
                    return number
    return None
