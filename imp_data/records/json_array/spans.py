"""Define spans of a JSON file's elements, and find the text that elements begin with."""

import json
import re
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 1 << 20
# Two orders of magnitude above the largest record of any source.
MAX_RECORD_BYTES = 8 << 20

_OBJECTS_MEASURED = 1024
_MAX_WORK = 32 << 20
_DEEP_BYTES = 1 << 16
_MAX_OPENINGS = 16
_DECODER = json.JSONDecoder(strict=False)

Offsets = npt.NDArray[np.int64]

_OBJECT = re.compile(rb'\{\s*+"(?:[^"\\]++|\\.)*+"\s*+:', re.DOTALL)

_OBJECT_TEXT = re.compile(_OBJECT.pattern.decode(), re.DOTALL)


class Spans(NamedTuple):
    """Elements `file[start:end]` in file order, possibly with surrounding white space."""

    starts: Offsets
    ends: Offsets

    def select(self, some: slice) -> "Spans":
        """Return some of the spans."""
        return Spans(self.starts[some], self.ends[some])


def read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """Read at most `size` bytes from a position."""
    file.seek(position)
    return file.read(size)


def has_most_fields(fields: frozenset[str], keys: Iterable[str]) -> bool:
    """Return whether the keys include more than half of the fields that every record has."""
    return 2 * len(fields.intersection(keys)) > len(fields)


def find_openings(
    head: bytes, fields: frozenset[str] = frozenset()
) -> tuple[list[bytes], list[bytes]]:
    """Return the openings of elements and of objects inside them: bracket, key and colon.

    Elements are the objects with the `fields` of a record, or the longest objects if none has
    them; not simply the first object, which may be damaged.
    """
    text = head.decode("latin-1")  # one character per byte
    sizes: dict[bytes, tuple[bool, int]] = {}
    position = work = 0
    for _ in range(_OBJECTS_MEASURED):
        match = _OBJECT.search(head, position)
        if match is None or work > _MAX_WORK:
            break
        size, position, read = _measure(text, match.start(), fields)
        work += read
        sizes[match.group()] = max(size, sizes.get(match.group(), size))
    ordered = sorted(sizes, key=lambda opening: sizes[opening], reverse=True)
    count = max(sum(is_record for is_record, _ in sizes.values()), min(len(ordered), 1))
    return ordered[:count][:_MAX_OPENINGS], ordered[count:][:_MAX_OPENINGS]


def _measure(text: str, start: int, fields: frozenset[str]) -> tuple[tuple[bool, int], int, int]:
    """Return (is a record, length), where another object may begin, and the bytes read.

    The next object is searched after this one, as brackets in its texts begin no object.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        read = min(len(text) - start, _DEEP_BYTES)
        if isinstance(error, json.JSONDecodeError) and error.msg.startswith("Unterminated"):
            read = len(text) - start
        elif isinstance(error, json.JSONDecodeError):
            read = error.pos - start
        return (False, 0), start + 1, read
    return (has_most_fields(fields, value), end - start), end, end - start


def decode_object_at(text: str, position: int) -> dict[str, Any] | None:
    """Return the object that begins at `place`; None if it cannot be read."""
    try:
        value = _DECODER.raw_decode(text, position)[0]
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def find_record_openings(text: str, fields: frozenset[str]) -> list[str]:
    """Return the openings of objects with the fields of a record, at any nesting."""
    found: dict[str, None] = {}
    position = work = 0
    for _ in range(_OBJECTS_MEASURED):
        match = _OBJECT_TEXT.search(text, position)
        if match is None or work > _MAX_WORK:
            break
        (is_record, _), end, read = _measure(text, match.start(), fields)
        work += read
        if is_record:
            found[match.group()] = None
        position = end if is_record else match.start() + 1
    return list(found)[:_MAX_OPENINGS]
