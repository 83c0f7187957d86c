"""Find the commas and brackets that separate the elements of an array, in blocks of a file.

Each byte is classified by one table look-up; strings and nesting follow from running sums.
"""

from typing import BinaryIO, NamedTuple

import numpy as np

from imp_data.records.json_array.spans import Offsets, Spans, read_at
from imp_data.storage.sorted_lookup import find_sorted

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COMMA = 1, 2, 3, 4, 5
_CLASS = np.zeros(256, np.uint8)
for _character, _class in zip(b'"\\{[}],', (1, 2, 3, 3, 4, 4, 5), strict=True):
    _CLASS[_character] = _class
# The same table as bytes: translate() is the fastest look-up available.
_IS_STRUCTURE = bytes(_CLASS.astype(bool))
_DEPTH_STEP = np.array([0, 0, 0, 1, -1, 0], np.int64)


class State(NamedTuple):
    """The state of a scan between two windows."""

    position: int
    element_start: int
    depth: int
    in_string: int
    closed: bool


def state_before(element: int) -> State:
    """Return the state of a scan at the start of an element."""
    return State(element, element, depth=1, in_string=0, closed=False)


def read_block(file: BinaryIO, position: int, size: int) -> bytes:
    """Read a block, one byte longer if it would end within an escape."""
    block = read_at(file, position, size)
    odd = (len(block) - len(block.rstrip(b"\\"))) % 2
    return block + file.read(1) if odd else block


def scan(block: bytes, state: State) -> tuple[Spans, State]:
    """Return the elements that end in a block that begins at `state.position`, and the new state.

    The last span ends at the bracket that closes the array, if the block contains it.
    """
    where = np.flatnonzero(np.frombuffer(block.translate(_IS_STRUCTURE), np.bool_))
    kind = _CLASS[np.frombuffer(block, np.uint8)[where]]
    if (kind == _BACKSLASH).any():
        escaped = _find_escaped(where[kind == _BACKSLASH])
        positions = find_sorted(where, escaped)
        kind[positions[positions >= 0]] = _BACKSLASH
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
    return Spans(starts, ends), State(
        position=next_start if closed else state.position + len(block),
        element_start=int(starts[-1]) if closed and len(starts) else next_start,
        depth=int(depth[-1]) if len(depth) else state.depth,
        in_string=int(quoted[-1]) if len(quoted) else state.in_string,
        closed=closed,
    )


def _find_escaped(backslashes: Offsets) -> Offsets:
    """Return the positions after backslash runs of odd length."""
    run_ends = np.flatnonzero(np.diff(backslashes, append=-1) != 1)
    run_lengths = np.diff(run_ends, prepend=-1)
    after: Offsets = backslashes[run_ends[run_lengths % 2 == 1]] + 1
    return after
