"""The next record after damage: equal to its plain definition, in linear time."""

import io
import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imp_data.records.json_array import record_finder, text_window
from imp_data.records.json_array.record_finder import Openings, RecordFinder
from imp_data.records.json_array.spans import read_at
from imp_data.records.json_array.text_window import TextWindow

FIELDS = frozenset({"id"})
OPENINGS = {
    "array": Openings((b'{"id":', b'{"x":'), fields=FIELDS),
    "lines": Openings((b'{"id":',), in_lines=True, fields=FIELDS),
    "by id": Openings((b'{"id":',), by_id=True, fields=FIELDS),
}
PIECES = (
    *('{"id": 1}', '{"id": ', '{ "id" : "x"}', '"k": ', '{"x": {"id": 1}}', "{\n", "}\n", ",\n"),
    *("{", "}", "[", "]", ",", ":", '"', "\\", "\n", " ", "1", "\0", '"id"', "é"),
)
texts = st.lists(st.sampled_from(PIECES), max_size=24).map(lambda some: "".join(some).encode())
forms = st.sampled_from(sorted(OPENINGS))


def plain_records(data: bytes, openings: Openings) -> Iterator[int]:
    """Yield each position at which the definition says that a record begins; in quadratic time.

    A record begins at an opening that follows a separator, or from which a record can be decoded.
    """
    pattern = re.compile(openings.to_pattern(), re.DOTALL)
    for position in range(len(data)):
        if pattern.match(data, position):
            finder = RecordFinder(io.BytesIO(data), openings, 1 << 20)
            if finder.is_separated(position) or finder.record_at(position) is not None:
                yield position


@given(texts, forms, st.lists(st.integers(0, 80), max_size=6))
@example(b"{\n" * 20 + b'{"id": 1}', "lines", list(range(0, 40, 3)))
@example(b'{"id": {"id": 1}}', "array", [0, 1, 7])
def test_the_next_record_is_the_first_that_begins_from_there_on(
    data: bytes, form: str, begins: list[int]
) -> None:
    openings = OPENINGS[form]
    records = list(plain_records(data, openings))
    finder = RecordFinder(io.BytesIO(data), openings, 1 << 20)
    for begin in sorted(begins):
        assert finder.next_record(begin) == next((r for r in records if r >= begin), None)


@given(texts.map(lambda text: text + b" " * 40), st.integers(0, 80))
def test_a_value_is_what_json_decodes_at_its_position(data: bytes, position: int) -> None:
    text = data.decode("latin-1")
    expected = None
    if position <= len(text):
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, position)
            expected = (value, position, end)
        except ValueError:
            pass
    assert TextWindow(io.BytesIO(data), 1 << 20).value(position) == expected


class CountedBytes(bytes):
    """Bytes that count how many of them `in` may have to look at."""

    looked_at = 0

    def __contains__(self, sign: object) -> bool:
        CountedBytes.looked_at += len(self)
        return super().__contains__(sign)  # type: ignore[operator]


@pytest.mark.parametrize("form", OPENINGS)
@pytest.mark.parametrize("line", [b"{\n", b"{\n}\n", b'{"k":\n'])
def test_a_block_is_searched_once_however_many_records_seem_to_begin_in_it(
    form: str, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_finder, "read_at", lambda *at: CountedBytes(read_at(*at)))
    monkeypatch.setattr(CountedBytes, "looked_at", 0)
    data = line * 5000 + b'{"id": 1}'
    finder = RecordFinder(io.BytesIO(data), OPENINGS[form], 1 << 20)
    begin: int | None = 0
    while begin is not None:
        begin = finder.next_record(begin)
        begin = None if begin is None else begin + 1
    assert CountedBytes.looked_at <= 4 * len(data)


def test_an_error_looks_for_no_line_in_the_text() -> None:
    text = text_window._Text("{" * 100_000)
    assert (text.count("\n", 0, 99_999), text.rfind("\n", 0, 99_999)) == (0, -1)
    with pytest.raises(json.JSONDecodeError) as error:
        text_window._DECODER.raw_decode(text, 99_990)
    assert (error.value.lineno, error.value.colno) == (1, 99_992)
