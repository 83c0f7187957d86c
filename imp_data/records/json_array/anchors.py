"""Where the records of a damaged file go on: by how they begin, and by what can be read there."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from imp_data.records.json_array.spans import BLOCK_BYTES, has_most, read_at
from imp_data.records.json_array.text_window import Stretch, Value

_WORDS = re.compile(rb'\{|"(?:[^"\\]++|\\.)*+"|:', re.DOTALL)
_ID = rb'"(?:[^"\\]++|\\.)*+"\s*+:\s*+'
_KEY = re.compile(_ID.decode(), re.DOTALL)
# What stands before an element. Nowhere else in sound JSON does an object follow a closing bracket.
_BETWEEN = re.compile(rb"(?:[,}\]]|\][\s,]*+\[)\s*+$")
_FIRST = re.compile(r"[^ \t\r\n,\x00\x1e]")
_LOOKED_BACK = 256
# So many times as much as has been done may be looked at in search of where values end.
PATIENCE = 16
_OVERLAP_BYTES = 1 << 16


class Beginnings(NamedTuple):
    """How records begin, by bracket, key and colon, and how the objects within them do.

    `by_id`: a key stands before each. `in_lines`: a line that begins with a bracket is one.
    `fields` are those that every record has.
    """

    records: tuple[bytes, ...]
    others: tuple[bytes, ...] = ()
    by_id: bool = False
    in_lines: bool = False
    fields: frozenset[str] = frozenset()

    def is_record(self, value: Any) -> bool:
        """Whether it has a record's fields, and holds no other: as if it lacked its own bracket."""
        if not isinstance(value, dict) or not self.fields:
            return isinstance(value, dict)
        return has_most(self.fields, value) and not self.holds_record(value)

    def holds_record(self, value: Any) -> bool:
        """Whether a record stands in a list, or in an object's field, alone or in a list."""
        if not self.fields:
            return False
        inner = value.values() if isinstance(value, dict) else [value]
        some = chain.from_iterable(one if isinstance(one, list) else [one] for one in inner)
        return any(
            isinstance(one, dict) and one is not value and has_most(self.fields, one)
            for one in some
        )

    def words(self) -> list[list[bytes]]:
        """The bracket, key and colon of each way to begin."""
        return [_WORDS.findall(record) for record in self.records]

    def spelled(self) -> bytes:
        """The pattern of a beginning, whatever white space is in it."""
        before = _ID if self.by_id else b""
        found = [before + rb"\s*+".join(map(re.escape, words)) for words in self.words()]
        return b"|".join(found + ([rb"(?<=\n)[ \t\x1e]*+\{"] if self.in_lines else []))


class Anchors:
    """Finds where records begin. What is asked for in the file's order is looked for once."""

    def __init__(self, file: BinaryIO, begins: Beginnings, most: int) -> None:
        self.begins, self.stretch = begins, Stretch(file, most)
        self._file, self._most = file, most
        self.pattern = re.compile(begins.spelled(), re.DOTALL) if begins.spelled() else None
        # A block in which none of these is has no beginning.
        self._signs = [max(words, key=len) for words in begins.words()]
        self._signs += [b"\n"] if begins.in_lines else []
        self._base, self._block = 0, b""
        self._known, self._asked = False, 0
        self._found: int | None = None

    def after(self, begin: int) -> int | None:
        """Where the next record begins that stands between others, or can be read."""
        known = self._known and self._asked <= begin
        if not known or (self._found is not None and self._found < begin):
            places = (place for place in self._places(begin) if self._is_record(place))
            self._known, self._asked, self._found = True, begin, next(places, None)
        return self._found

    def _is_record(self, place: int) -> bool:
        """Whether it is sure; or can be read, if not too much has been tried so far."""
        if self.is_sure(place):
            return True
        spared = self.stretch.work < PATIENCE * (self._most + place)
        return spared and self.record_at(place) is not None

    def surely_after(self, begin: int) -> int | None:
        """Where the next record begins by what stands around its beginning; nothing is read."""
        return next((place for place in self._places(begin) if self.is_sure(place)), None)

    def is_sure(self, place: int) -> bool:
        """Whether what stands before this beginning is what stands between records."""
        size = min(place, _LOOKED_BACK)
        before = read_at(self._file, place - size, size)
        return bool(_BETWEEN.search(before)) or (self.begins.in_lines and before[-1:] == b"\n")

    def record_at(self, place: int) -> Value | None:
        """The record that begins here, behind its id where it has one; None if none can be read."""
        self.stretch.load(place)
        first = _FIRST.search(self.stretch.text, place - self.stretch.base)
        if first is None:
            return None
        at = first.start()
        if self.begins.by_id and (key := _KEY.match(self.stretch.text, at)):
            at = key.end()
        if self.stretch.text[at : at + 1] != "{":
            return None
        start = self.stretch.base + first.start()
        found = self.stretch.value(self.stretch.base + at)
        if found is None or not self.begins.is_record(found.value):
            return None
        return found._replace(start=start)

    def _places(self, begin: int) -> Iterator[int]:
        """Where the pattern is found from a place on."""
        while self.pattern is not None:
            self._have(begin)
            if any(sign in self._block for sign in self._signs):
                found = self.pattern.search(self._block, begin - self._base)
                if found is not None:
                    begin = self._base + found.start() + 1
                    yield begin - 1
                    continue
            if len(self._block) < BLOCK_BYTES:
                return
            begin = max(begin, self._base + len(self._block) - _OVERLAP_BYTES)

    def _have(self, begin: int) -> None:
        """Have a block at hand, with the byte before this place and enough of those after it."""
        first, end = max(begin - 1, 0), self._base + len(self._block)
        to_the_end = 0 < len(self._block) < BLOCK_BYTES
        if not (self._base <= first and (to_the_end or begin < end - _OVERLAP_BYTES)):
            self._base, self._block = first, read_at(self._file, first, BLOCK_BYTES)
