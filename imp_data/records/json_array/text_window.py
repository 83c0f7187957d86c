"""A file's text at hand from any place on, and the JSON values in it.

Text is read as Latin-1, in which a character is a byte: structure is all in ASCII.
"""

import json
from typing import Any, BinaryIO, NamedTuple

from imp_data.records.json_array.spans import BLOCK_BYTES, read_at

_DECODER = json.JSONDecoder(strict=False)
# An error so near to the end of what was read may come from that end alone: as in `tru` or `\u12`.
_NEAR_END = 16
# What nesting too deep, or a number too long, takes to be found.
_DEEP_BYTES = 1 << 18


class _Text(str):
    """Text whose lines a decoding error does not count: that would take longer than decoding."""

    def count(self, *_: object) -> int:
        return 0


class Value(NamedTuple):
    """A JSON value, and where it begins and ends in the file."""

    value: Any
    start: int
    end: int


class Stretch:
    """A part of the file, which moves on, and grows as far as one value needs, up to `most` bytes.

    `work` counts the bytes that were looked at in search of values' ends.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self.base, self.text, self.at_end = 0, _Text(), False
        self.work = 0

    def load(self, position: int, size: int = 0) -> None:
        """Have the text from a position on at hand; at least so much of it, if a size is given."""
        if size or not self.base <= position < self.base + len(self.text):
            data = read_at(self._file, position, size or BLOCK_BYTES)
            self.base, self.text = position, _Text(data, "latin-1")
            self.at_end = len(data) < (size or BLOCK_BYTES)

    def value(self, position: int) -> Value | None:
        """The value that begins here; None if it is none, or too long for a record."""
        self.load(position)
        while True:
            start = position - self.base
            try:
                value, end = _DECODER.raw_decode(self.text, start)
                cut_off = end == len(self.text)  # perhaps after a number's first digits
                self.work += end - start
            except (RecursionError, ValueError) as error:
                value, end = None, -1
                size, cut_off = _failure(error, start, len(self.text))
                self.work += size
            if self.at_end or not cut_off:
                return None if end < 0 else Value(value, position, self.base + end)
            if not self._extend(position):
                return None

    def _extend(self, position: int) -> bool:
        """Have more text from a position on at hand; False where a record is never so long."""
        longest = self._most + BLOCK_BYTES
        if self.base == position and len(self.text) >= longest:
            return False
        size = BLOCK_BYTES if self.base < position else 2 * len(self.text)
        self.load(position, min(size, longest))
        return True


def _failure(error: Exception, start: int, length: int) -> tuple[int, bool]:
    """About how much the decoder read, and whether its error may come from the text's end."""
    if not isinstance(error, json.JSONDecodeError):
        return _DEEP_BYTES, False  # nested too deeply, or a number with too many digits
    if error.msg.startswith("Unterminated"):
        return length - start, True
    return error.pos - start + 1, error.pos >= length - _NEAR_END
