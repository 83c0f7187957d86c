"""Split an undamaged array at commas, and verify each piece by parsing it.

If every piece between the commas is valid JSON, the commas separate elements: the spans equal
those of a scan, for a quarter of the work.
"""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import orjson

from imp_data.records.json_array.spans import Spans, read_at


def find_separator(head: bytes, openings: Sequence[bytes]) -> bytes | None:
    """Return the text between two elements and the second's opening, as found in the head."""
    found = re.search(rb",\s*+" + re.escape(openings[0]), head) if openings else None
    return found.group() if found else None


def split_valid_windows(
    file: BinaryIO, begin: int, size: int, window: int, separator: bytes | None
) -> Iterator[Spans]:
    """Yield elements from `begin`, where one begins, until a window may hold one that is not JSON.

    The first window has `size` bytes, the next twice as many, up to `window`. The last element,
    which no separator ends, and elements longer than their window are not found.
    """
    while separator is not None:
        spans = _split_block(read_at(file, begin, size), begin, separator)
        if spans is None:
            return
        yield spans
        begin, size = int(spans.ends[-1]) + 1, min(2 * size, window)


def _split_block(block: bytes, begin: int, separator: bytes) -> Spans | None:
    """Return the complete elements of a block; None if there are none, or one is not JSON."""
    ends = [match.start() for match in re.finditer(re.escape(separator), block)]
    starts = [0, *(end + 1 for end in ends)]
    try:
        for start, end in zip(starts, ends, strict=False):
            orjson.loads(block[start:end])
    except orjson.JSONDecodeError:
        return None
    return Spans(np.array(starts[:-1]) + begin, np.array(ends) + begin) if ends else None
