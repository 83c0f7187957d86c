"""Where quotes or brackets of a JSON file do not balance, and where its elements go on."""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from imp_data.layouts.parsing import parse
from imp_data.ledger import Verdict

BLOCK_BYTES = 1 << 20

Offsets = npt.NDArray[np.int64]

_OBJECT = re.compile(rb'\{\s*"(?:[^"\\]|\\.)*"\s*:')
_WORDS = re.compile(rb'\{|"(?:[^"\\]|\\.)*"|:')


class Spans(NamedTuple):
    """Elements `file[start:end]`, in file order; surrounding white space may be included."""

    starts: Offsets
    ends: Offsets


def read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """The file's bytes from a position on, at most so many."""
    file.seek(position)
    return file.read(size)


def opening_of(head: bytes) -> bytes | None:
    """What elements begin with: bracket, key and colon of the longest object in the head.

    Not simply the first element's, which may be the one that is damaged. Objects within elements
    begin with keys too, but they are shorter.
    """
    places: dict[bytes, list[int]] = {}
    for match in _OBJECT.finditer(head):
        places.setdefault(match.group(), []).append(match.start())
    lengths = {text: _longest_object(head, starts) for text, starts in places.items()}
    return max(lengths, key=lambda text: lengths[text], default=None)


def _longest_object(head: bytes, starts: list[int]) -> int:
    longest = 0
    for start, end in zip(starts, [*starts[1:], len(head)], strict=True):
        piece = head[start:end].rstrip(b"], \t\r\n")
        if len(piece) > longest and not isinstance(parse(piece), Verdict):
            longest = len(piece)
    return longest


def taken_up_again(
    file: BinaryIO, begin: int, opening: bytes | None
) -> tuple[Spans | None, int | None]:
    """The element in which the scan lost its way, and where the next one begins, if one does."""
    found = _next_element(file, begin + 1, opening) if opening else None
    if found is not None:
        comma, resume = found
        return Spans(*np.array([[begin], [comma]])), resume
    if not read_at(file, begin, BLOCK_BYTES).strip(b"]} \t\r\n"):
        return None, None
    return Spans(*np.array([[begin], [file.seek(0, 2)]])), None


def _next_element(file: BinaryIO, begin: int, opening: bytes) -> tuple[int, int] | None:
    """From `begin` on, the first comma before what looks like an element, and where that begins."""
    words = [re.escape(word) for word in _WORDS.findall(opening)]
    pattern = re.compile(rb",\s*(?=" + rb"\s*".join(words) + rb")")
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


def lost_at(file: BinaryIO, spans: Spans, opening: bytes | None) -> int | None:
    """The first span in which the scan lost its way; None if it kept it.

    Such a span is no JSON, and the next text that looks like the beginning of an element is not
    where the span ends: its brackets or quotes do not balance, or balance with another's.
    """
    if opening is None or not len(spans.starts):
        return None
    base = int(spans.starts[0])
    block = read_at(file, base, int(spans.ends[-1]) - base)
    starts, ends = (spans.starts - base).tolist(), (spans.ends - base).tolist()
    begins = re.compile(rb"\s*" + re.escape(opening))
    # Where each span begins as elements do, and nothing else does, only the last end is in doubt.
    plain = block.count(opening) == len(starts) and all(begins.match(block, s) for s in starts)
    for number in range(len(starts) - 1 if plain else 0, len(starts)):
        start, end = starts[number], ends[number]
        try:
            orjson.loads(block[start:end])
        except orjson.JSONDecodeError:
            if isinstance(parse(block[start:end]), Verdict):
                comma = _next_element(file, base + start + 1, opening)
                if comma is not None and comma[0] != base + end:
                    return number
    return None
