"""Decode JSON values at any position of a file.

Text is decoded as Latin-1, one character per byte: JSON's structure is ASCII only.
"""

import json
import re
from typing import Any, BinaryIO, NamedTuple

from imp_data.records.json_array.spans import BLOCK_BYTES, read_at

_DECODER = json.JSONDecoder(strict=False)
# An error this near to the end of the text may be due to that end, as in `tru` or `\u12`.
_NEAR_END = 16
# Assumed work for an error without a position: nesting too deep, or a number too long.
_DEEP_BYTES = 1 << 18
# The commonest failure, an object without a key: found at a tenth of the cost of an exception.
_NO_KEY = re.compile(r'\{[ \t\n\r]*+[^" \t\n\r}]')


class _Text(str):
    """Text without lines: for a decoding error, finding its line would take longer than decoding.

    JSONDecodeError counts the newlines before the error, and searches backwards for the last one.
    """

    def count(self, *_: object) -> int:
        return 0

    def rfind(self, *_: object) -> int:
        return -1


class Value(NamedTuple):
    """A JSON value, with its start and end in the file."""

    value: Any
    start: int
    end: int


class TextWindow:
    """A window of the file that moves forward, and grows for one value up to `max_bytes`.

    `work` counts the bytes decoded in search of the ends of values.
    """

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file, self._max_bytes = file, max_bytes
        self.base, self.text, self.at_end = 0, _Text(), False
        self.work = 0

    def load(self, position: int, size: int = 0) -> None:
        """Load the text from a position, at least `size` bytes if given."""
        if size or not self.base <= position < self.base + len(self.text):
            data = read_at(self._file, position, size or BLOCK_BYTES)
            self.base, self.text = position, _Text(data, "latin-1")
            self.at_end = len(data) < (size or BLOCK_BYTES)

    def value(self, position: int) -> Value | None:
        """Return the value that begins at a position; None if it is invalid or too long."""
        self.load(position)
        while True:
            start = position - self.base
            no_key = _NO_KEY.match(self.text, start)
            if no_key and no_key.end() < len(self.text) - _NEAR_END:
                self.work += no_key.end() - start
                return None
            try:
                value, end = _DECODER.raw_decode(self.text, start)
                cut_off = end == len(self.text)  # possibly in the middle of a number
                self.work += end - start
            except (RecursionError, ValueError) as error:
                value, end = None, -1
                size, cut_off = _assess_failure(error, start, len(self.text))
                self.work += size
            if self.at_end or not cut_off:
                return None if end < 0 else Value(value, position, self.base + end)
            if not self._extend(position):
                return None

    def _extend(self, position: int) -> bool:
        """Load more text from a position; return False beyond the length limit of a record."""
        longest = self._max_bytes + BLOCK_BYTES
        if self.base == position and len(self.text) >= longest:
            return False
        size = BLOCK_BYTES if self.base < position else 2 * len(self.text)
        self.load(position, min(size, longest))
        return True


def _assess_failure(error: Exception, start: int, length: int) -> tuple[int, bool]:
    """Return the approximate bytes decoded, and whether the text's end may cause the error."""
    if not isinstance(error, json.JSONDecodeError):
        return _DEEP_BYTES, False  # nested too deeply, or a number with too many digits
    if error.msg.startswith("Unterminated"):
        return length - start, True
    return error.pos - start + 1, error.pos >= length - _NEAR_END
