"""Spans of a JSON file's elements, and how these begin."""

import json
import re
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 1 << 20
# Longer than any record of any source by two orders of magnitude.
MOST_BYTES = 8 << 20

_OBJECTS_MEASURED = 1024
_MOST_WORK = 32 << 20
_DEEP_BYTES = 1 << 16
_MOST_OPENINGS = 16
_DECODER = json.JSONDecoder(strict=False)

Offsets = npt.NDArray[np.int64]

_OBJECT = re.compile(rb'\{\s*+"(?:[^"\\]++|\\.)*+"\s*+:', re.DOTALL)

_OBJECT_TEXT = re.compile(_OBJECT.pattern.decode(), re.DOTALL)


class Spans(NamedTuple):
    """Elements `file[start:end]`, in file order; surrounding white space may be included."""

    starts: Offsets
    ends: Offsets

    def only(self, some: slice) -> "Spans":
        """Some of them."""
        return Spans(self.starts[some], self.ends[some])


def read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """The file's bytes from a position on, at most so many."""
    file.seek(position)
    return file.read(size)


def has_most(fields: frozenset[str], keys: Iterable[str]) -> bool:
    """Whether an object with these keys has more than half of the fields that every record has."""
    return 2 * len(fields.intersection(keys)) > len(fields)


def openings_of(
    head: bytes, fields: frozenset[str] = frozenset()
) -> tuple[list[bytes], list[bytes]]:
    """What elements begin with, and what objects within them do: bracket, key and colon.

    Elements are the objects that have the `fields` of a record, or the longest ones where none
    has; so not simply the first, which may be the one that is damaged.
    """
    text = head.decode("latin-1")  # a character a byte
    sizes: dict[bytes, tuple[bool, int]] = {}
    position = work = 0
    for _ in range(_OBJECTS_MEASURED):
        match = _OBJECT.search(head, position)
        if match is None or work > _MOST_WORK:
            break
        size, position, read = _measured(text, match.start(), fields)
        work += read
        sizes[match.group()] = max(size, sizes.get(match.group(), size))
    ordered = sorted(sizes, key=lambda opening: sizes[opening], reverse=True)
    count = max(sum(is_record for is_record, _ in sizes.values()), min(len(ordered), 1))
    return ordered[:count][:_MOST_OPENINGS], ordered[count:][:_MOST_OPENINGS]


def _measured(text: str, start: int, fields: frozenset[str]) -> tuple[tuple[bool, int], int, int]:
    """Whether a record begins here, how long it is; where another object may begin; bytes read.

    Not within this one: a bracket in one of its texts begins none.
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
    return (has_most(fields, value), end - start), end, end - start


def object_at(text: str, place: int) -> dict[str, Any] | None:
    """The object that begins here; None if it cannot be read."""
    try:
        value = _DECODER.raw_decode(text, place)[0]
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def record_openings(text: str, fields: frozenset[str]) -> list[str]:
    """What objects with the fields of a record begin with, whatever they stand in."""
    found: dict[str, None] = {}
    position = work = 0
    for _ in range(_OBJECTS_MEASURED):
        match = _OBJECT_TEXT.search(text, position)
        if match is None or work > _MOST_WORK:
            break
        (is_record, _), end, read = _measured(text, match.start(), fields)
        work += read
        if is_record:
            found[match.group()] = None
        position = end if is_record else match.start() + 1
    return list(found)[:_MOST_OPENINGS]
