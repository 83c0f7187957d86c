"""Elements are parsed to values, or to a verdict with position and cause."""

from typing import Any

import pytest

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.records.json_array.parse import parse, parse_exactly


def reason(element: bytes) -> str:
    parsed = parse(element)
    return parsed.reason if isinstance(parsed, Verdict) else "readable"


@pytest.mark.parametrize(
    ("element", "verdict"),
    [
        (b'{"a": "\xff"}', (Reason.NOT_UTF8, {"byte": 7, "problem": "invalid start byte"})),
        (b'{"a": "\\udc00!"}', (Reason.LONE_SURROGATE, {"found": "'\\udc00'"})),
        (b'{"a": NaN}', (Reason.NOT_JSON, {"problem": "NaN is not JSON"})),
        (b'{"a": -Infinity}', (Reason.NOT_JSON, {"problem": "-Infinity is not JSON"})),
        (b'{"a" 1}', (Reason.NOT_JSON, {"problem": "Expecting ':' delimiter", "character": 5})),
        (b'{"a": 1', (Reason.TRUNCATED, {"problem": "Expecting ',' delimiter", "character": 7})),
        (
            b'["b',
            (Reason.TRUNCATED, {"problem": "Unterminated string starting at", "character": 1}),
        ),
    ],
)
def test_an_unreadable_element_has_a_verdict_with_position_and_cause(
    element: bytes, verdict: Any
) -> None:
    assert parse(element) == verdict


def test_nesting_beyond_the_limit_is_rejected() -> None:
    assert reason(b"[" * 3000 + b"]" * 3000) == "too_deep"
    assert reason(b"[" * 900 + b"]" * 900) == "readable"


def test_a_raw_newline_in_a_string_is_repaired_and_recorded() -> None:
    parsed = parse(b'{"a": "one\ntwo\x01"}')
    before = '{"a": "one\ntwo\x01"}'
    assert parsed == ({"a": "one\ntwo\x01"}, [AppliedRepair(Repair.RAW_CONTROL, before)])


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse(b'{"a": "\\ud83d\\ude00"}') == ({"a": "😀"}, [])


@pytest.mark.parametrize("digits", [20, 25, 400])
def test_an_integer_of_any_length_is_parsed_exactly(digits: int) -> None:
    element = b'{"id": ' + b"7" * digits + b"}"
    assert parse_exactly(element) == {"id": int("7" * digits)}
    parsed = parse(element)
    assert not isinstance(parsed, Verdict) and parsed[1] == []


@pytest.mark.parametrize("number", [b"1e400", b"-1e400"])
def test_a_number_too_large_for_a_float_is_not_json(number: bytes) -> None:
    parsed = parse(b'{"id": ' + number + b"}")
    assert isinstance(parsed, Verdict) and parsed.reason is Reason.NOT_JSON


@pytest.mark.parametrize("levels", [900, 1000, 1024, 1025, 5000])
@pytest.mark.parametrize("odd", [b"0", b'"\x01"', b"1" * 30])
def test_the_nesting_limit_is_the_same_for_both_parsers(levels: int, odd: bytes) -> None:
    nested = b"[" * levels + odd + b"]" * levels
    assert reason(nested) == ("readable" if levels <= 1024 else "too_deep")
