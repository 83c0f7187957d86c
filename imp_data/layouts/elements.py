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
    Offsets,
    Spans,
    lost_at,
    opening_of,
    read_at,
    taken_up_again,
)
from imp_data.layouts.seams import seam_of, sound_spans
from imp_data.ranges import opened

WINDOW_BYTES = BLOCK_BYTES
# Longer than any record of any source by three orders of magnitude: beyond it brackets are lost.
MAX_ELEMENT_BYTES = 32 << 20
_HEAD_BYTES = 1 << 20

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COMMA = 1, 2, 3, 4, 5
_CLASS = np.zeros(256, np.uint8)
for _character, _class in zip(b'"\\{[}],', (1, 2, 3, 3, 4, 4, 5), strict=True):
    _CLASS[_character] = _class
# The same table as bytes: translate() is the fastest look-up there is.
_MATTERS = bytes(_CLASS.astype(bool))
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


def json_spans(path: Path, key: str | None = None, window: int = WINDOW_BYTES) -> Iterator[Spans]:
    """Spans of a JSON array's elements, or of JSON Lines; `key` names an array in an object.

    Raises UserError if the file is neither.
    """
    head = _head(path)
    begins_at = len(head) - len(head.removeprefix(b"\xef\xbb\xbf").lstrip())
    if key is not None:
        match = re.search(rb'"' + key.encode() + rb'"\s*:\s*\[', head)
        if match is None:
            raise UserError(path, f'has no "{key}": [ … ]', _REFETCH)
        yield from _array_spans(path, match.end(), window, trailer_allowed=True)
    elif head[begins_at : begins_at + 1] == b"[":
        yield from _array_spans(path, begins_at + 1, window, trailer_allowed=False)
    elif head[begins_at : begins_at + 1] == b"{":
        yield from _line_spans(path, begins_at, window)
    else:
        shown = head[begins_at : begins_at + 16]
        raise UserError(path, f"is neither a JSON array nor JSON Lines: begins {shown!r}", _REFETCH)


_REFETCH = "delete it and materialize its raw asset again"


def _head(path: Path) -> bytes:
    try:
        with opened(path) as file:
            return file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise UserError(path, "is not there", "materialize its raw asset") from None


def _line_spans(path: Path, position: int, window: int) -> Iterator[Spans]:
    line_start = position
    with opened(path) as file:
        while block := read_at(file, position, window):
            newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + position
            starts = (
                np.concatenate(([line_start], newlines[:-1] + 1)) if len(newlines) else newlines
            )
            yield from _without_blank(file, Spans(starts, newlines))
            position += len(block)
            line_start = int(newlines[-1]) + 1 if len(newlines) else line_start
        yield from _without_blank(file, Spans(np.array([line_start]), np.array([position])))


def _without_blank(file: BinaryIO, lines: Spans) -> Iterator[Spans]:
    """The lines, less those that are empty or hold a little white space."""
    said = lines.ends > lines.starts
    for n in np.flatnonzero(said & (lines.ends - lines.starts < 8)).tolist():
        start, end = int(lines.starts[n]), int(lines.ends[n])
        said[n] = bool(read_at(file, start, end - start).strip())
    if said.any():
        yield Spans(lines.starts[said], lines.ends[said])


def _array_spans(path: Path, begin: int, window: int, trailer_allowed: bool) -> Iterator[Spans]:
    with opened(path) as file:
        state, head = _before(begin), read_at(file, begin, _HEAD_BYTES)
        opening = opening_of(head)
        seam = seam_of(head, opening)
        while True:
            for sound in sound_spans(file, state.element_start, window, seam):
                yield sound
                state = _before(int(sound.ends[-1]) + 1)
            block = _read_whole_escapes(file, state.position, window)
            spans, after = _scan(block, state)
            lost = lost_at(file, spans, opening)
            if lost is not None:
                resume_from = int(spans.starts[lost])
                spans = Spans(spans.starts[:lost], spans.ends[:lost])
            elif after.closed:
                rest = read_at(file, after.position, _HEAD_BYTES).strip()
                if not rest or (trailer_allowed and not re.match(rb",\s*\{", rest)):
                    yield _without_empty_end(file, spans)
                    return
                # More follows the bracket that seemed to close the array: it was one too many.
                resume_from = after.element_start
                spans = Spans(spans.starts[:-1], spans.ends[:-1])
            else:
                resume_from = after.element_start
            if len(spans.starts):
                yield spans
            too_long = after.position - resume_from > MAX_ELEMENT_BYTES
            state = after
            if lost is None and block and not state.closed and not too_long:
                continue
            broken, resume = taken_up_again(file, resume_from, opening)
            if broken is not None:
                yield broken
            if resume is None:
                return
            state = _before(resume)


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
