"""Find the next record in a damaged file, by its opening and by decoding it."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from imp_data.records.json_array.spans import BLOCK_BYTES, has_most_fields, read_at
from imp_data.records.json_array.text_window import TextWindow, Value

_TOKENS = re.compile(rb'\{|"(?:[^"\\]++|\\.)*+"|:', re.DOTALL)
_ID = rb'"(?:[^"\\]++|\\.)*+"\s*+:\s*+'
_KEY = re.compile(_ID.decode(), re.DOTALL)
# The text before an element. Only there does an object follow a closing bracket in valid JSON.
_BETWEEN = re.compile(rb"(?:[,}\]]|\][\s,]*+\[)\s*+$")
_FIRST = re.compile(r"[^ \t\r\n,\x00\x1e]")
_LOOKBACK_BYTES = 256
# Limit of the bytes decoded in search of values' ends, as a multiple of the bytes done.
WORK_FACTOR = 16
_OVERLAP_BYTES = 1 << 16


class Openings(NamedTuple):
    """The openings (bracket, key and colon) of records and of the objects inside them.

    `by_id`: a key precedes each record. `in_lines`: a line that begins with a bracket is a record.
    `fields` are those that every record has.
    """

    records: tuple[bytes, ...]
    others: tuple[bytes, ...] = ()
    by_id: bool = False
    in_lines: bool = False
    fields: frozenset[str] = frozenset()

    def is_record(self, value: Any) -> bool:
        """Return whether it has a record's fields and contains no record (after a lost bracket)."""
        if not isinstance(value, dict) or not self.fields:
            return isinstance(value, dict)
        return has_most_fields(self.fields, value) and not self.holds_record(value)

    def holds_record(self, value: Any) -> bool:
        """Return whether a list, or an object's field, contains a record, directly or in a list."""
        if not self.fields:
            return False
        inner = value.values() if isinstance(value, dict) else [value]
        some = chain.from_iterable(one if isinstance(one, list) else [one] for one in inner)
        return any(
            isinstance(one, dict) and one is not value and has_most_fields(self.fields, one)
            for one in some
        )

    def tokens(self) -> list[list[bytes]]:
        """Return bracket, key and colon of each record opening."""
        return [_TOKENS.findall(record) for record in self.records]

    def to_pattern(self) -> bytes:
        """Return the pattern of a record's opening, with any white space."""
        before = _ID if self.by_id else b""
        found = [before + rb"\s*+".join(map(re.escape, tokens)) for tokens in self.tokens()]
        return b"|".join(found + ([rb"(?<=\n)[ \t\x1e]*+\{"] if self.in_lines else []))


class RecordFinder:
    """Finds where records begin; queries in file order search each byte once."""

    def __init__(self, file: BinaryIO, openings: Openings, max_bytes: int) -> None:
        self.openings, self.text_window = openings, TextWindow(file, max_bytes)
        self._file, self._max_bytes = file, max_bytes
        self.pattern = (
            re.compile(openings.to_pattern(), re.DOTALL) if openings.to_pattern() else None
        )
        # A block without any of these contains no opening.
        self._required = [max(tokens, key=len) for tokens in openings.tokens()]
        self._required += [b"\n"] if openings.in_lines else []
        self._base, self._block, self._may_match = 0, b"", False
        self._is_known, self._searched_from = False, 0
        self._found: int | None = None

    def next_record(self, begin: int) -> int | None:
        """Return where the next record begins that is between others, or can be decoded."""
        known = self._is_known and self._searched_from <= begin
        if not known or (self._found is not None and self._found < begin):
            positions = (
                position for position in self._match_positions(begin) if self._is_record(position)
            )
            self._is_known, self._searched_from, self._found = True, begin, next(positions, None)
        return self._found

    def _is_record(self, position: int) -> bool:
        """Return whether a record begins here, by context, or by decoding within the work limit."""
        if self.is_separated(position):
            return True
        spared = self.text_window.work < WORK_FACTOR * (self._max_bytes + position)
        return spared and self.record_at(position) is not None

    def next_separated(self, begin: int) -> int | None:
        """Return where the next record begins by its context only; nothing is decoded."""
        return next(
            (position for position in self._match_positions(begin) if self.is_separated(position)),
            None,
        )

    def is_separated(self, position: int) -> bool:
        """Return whether the text before this opening is a separator of records."""
        size = min(position, _LOOKBACK_BYTES)
        before = read_at(self._file, position - size, size)
        return bool(_BETWEEN.search(before)) or (self.openings.in_lines and before[-1:] == b"\n")

    def record_at(self, position: int) -> Value | None:
        """Return the record that begins here, after its id if it has one; None if unreadable."""
        self.text_window.load(position)
        first = _FIRST.search(self.text_window.text, position - self.text_window.base)
        if first is None:
            return None
        at = first.start()
        if self.openings.by_id and (key := _KEY.match(self.text_window.text, at)):
            at = key.end()
        if self.text_window.text[at : at + 1] != "{":
            return None
        start = self.text_window.base + first.start()
        found = self.text_window.value(self.text_window.base + at)
        if found is None or not self.openings.is_record(found.value):
            return None
        return found._replace(start=start)

    def _match_positions(self, begin: int) -> Iterator[int]:
        """Yield where the pattern matches from a position on."""
        while self.pattern is not None:
            self._load_block(begin)
            if self._may_match:
                found = self.pattern.search(self._block, begin - self._base)
                if found is not None:
                    begin = self._base + found.start() + 1
                    yield begin - 1
                    continue
            if len(self._block) < BLOCK_BYTES:
                return
            begin = max(begin, self._base + len(self._block) - _OVERLAP_BYTES)

    def _load_block(self, begin: int) -> None:
        """Load a block with the byte before this position and enough bytes after it."""
        first, end = max(begin - 1, 0), self._base + len(self._block)
        to_the_end = 0 < len(self._block) < BLOCK_BYTES
        if not (self._base <= first and (to_the_end or begin < end - _OVERLAP_BYTES)):
            self._base, self._block = first, read_at(self._file, first, BLOCK_BYTES)
            # Once a block: a search per position would take time quadratic in the block's size.
            self._may_match = any(sign in self._block for sign in self._required)
