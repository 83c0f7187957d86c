"""The elements of an array where nothing is amiss: found by how they begin, proved by parsing them.

A stretch of an array that is cut at commas into pieces each of which is JSON is cut between its
elements: so these are the spans that a scan finds, for a quarter of the work.
"""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import orjson

from imp_data.records.json_array.spans import Spans, read_at


def seam_of(head: bytes, openings: Sequence[bytes]) -> bytes | None:
    """What stands between two elements, with what the second begins with, as the head has it."""
    found = re.search(rb",\s*+" + re.escape(openings[0]), head) if openings else None
    return found.group() if found else None


def sound_spans(
    file: BinaryIO, begin: int, size: int, window: int, seam: bytes | None
) -> Iterator[Spans]:
    """Elements from `begin` on, where one begins, up to a window in which one might not be JSON.

    The first window has `size` bytes, the next twice as many, up to `window`. Not found is the last
    element, which no seam ends, nor one that is longer than its window.
    """
    while seam is not None:
        spans = _cut(read_at(file, begin, size), begin, seam)
        if spans is None:
            return
        yield spans
        begin, size = int(spans.ends[-1]) + 1, min(2 * size, window)


def _cut(block: bytes, begin: int, seam: bytes) -> Spans | None:
    """The elements that a block has in full; None if it has none, or one that is not JSON."""
    ends = [match.start() for match in re.finditer(re.escape(seam), block)]
    starts = [0, *(end + 1 for end in ends)]
    try:
        for start, end in zip(starts, ends, strict=False):
            orjson.loads(block[start:end])
    except orjson.JSONDecodeError:
        return None
    return Spans(np.array(starts[:-1]) + begin, np.array(ends) + begin) if ends else None
