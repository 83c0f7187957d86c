"""Elements of a JSON file are found by structure, so that a damaged one affects only itself."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.ledger import Verdict
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans
from imp_data.records.json_array.structure import scan

# The examples of a property share the directory; each rewrites its file.
in_one_folder = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200
)

# Text with characters that mislead a naive scanner.
texts = st.text(st.sampled_from(list('ab {}[],:"\\\n\té😀')), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
windows = st.integers(1, 80) | st.just(4 << 20)


def elements(file: Path, data: bytes, key: str | None = None, window: int = 4 << 20) -> list[bytes]:
    """Return the bytes of each element found in a file with this content."""
    file.write_bytes(data)
    spans = json_spans(file, key, window)
    return [data[a:b] for s in spans for a, b in zip(s.starts, s.ends, strict=True)]


def readable(found: list[bytes]) -> list[Any]:
    parsed = [parse(element) for element in found]
    return [p[0] for p in parsed if not isinstance(p, Verdict)]


def reason(element: bytes) -> str:
    parsed = parse(element)
    return parsed.reason if isinstance(parsed, Verdict) else "readable"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[]", []),
        (" \n[ \n ]\n", []),
        ('[{"a": 1}]', [{"a": 1}]),
        ('\ufeff[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ('[{"a": 1}, {"a": 2},\n]', [{"a": 1}, {"a": 2}]),
        ('[1, null, "a, b", [[3]], {"a": {}}]', [1, None, "a, b", [[3]], {"a": {}}]),
        ('[{"a": "\\"], [\\\\"}, {"a": "}"}]', [{"a": '"], [\\'}, {"a": "}"}]),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('\ufeff{"a": 1}\r\n\r\n\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}\n7\n', [{"a": 1}, 7]),
    ],
)  # fmt: skip
def test_arrays_and_lines_are_split_into_their_elements(
    content: str, found: list[Any], tmp_path: Path
) -> None:
    assert [json.loads(e) for e in elements(tmp_path / "f.json", content.encode())] == found


@pytest.mark.parametrize(
    "content",
    [
        '{"data": [{"a": 1}, {"a": 2}]}',
        '{"name": "x", "split": ["train"], "data" :\n [{"a": 1}, {"a": 2}], "more": [{"a": 3}]}',
        '\ufeff{"data":[{"a":1},{"a":2},]}',
    ],
)
def test_a_key_names_the_array_within_an_object(content: str, tmp_path: Path) -> None:
    found = elements(tmp_path / "f.json", content.encode(), key="data")
    assert [json.loads(e) for e in found] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("content", "key", "said"),
    [
        (b"", None, "is empty: it holds no JSON"),
        (b"<html>", None, "is an HTML page, not JSON text"),
        (b"id,text", None, "is neither a JSON array nor JSON Lines: begins b'id,text'"),
        (b'{"rows": []}', "data", 'has no "data": [ … ]'),
    ],
)
def test_a_file_that_is_not_json_is_named_in_the_error(
    content: bytes, key: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        elements(tmp_path / "f.json", content, key)
    assert error.value.where == str(tmp_path / "f.json")
    assert error.value.problem == said


def test_a_missing_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.json: does not exist"):
        next(json_spans(tmp_path / "gone.json"))


@in_one_folder
@given(
    st.lists(json_values, max_size=6),
    st.sampled_from([None, 0, 2]),
    windows,
    st.sampled_from([None, "data"]),
)
def test_spans_of_an_array_parse_back_to_its_values(
    tmp_path: Path, values: list[Any], indent: int | None, window: int, key: str | None
) -> None:
    whole = values if key is None else {"n": "[", key: values}
    data = json.dumps(whole, indent=indent, ensure_ascii=indent == 0).encode()
    found = elements(tmp_path / "f.json", data, key, window)
    assert [json.loads(element) for element in found] == values


@in_one_folder
@given(st.lists(json_values, max_size=6), st.sampled_from(["\n", "\r\n"]), windows)
@example([5], "\n", 4)
def test_spans_of_json_lines_parse_back_to_their_values(
    tmp_path: Path, values: list[Any], newline: str, window: int
) -> None:
    values = [{"first": "line"}, *values]
    data = newline.join(json.dumps(value) for value in values).encode()
    found = elements(tmp_path / "f.json", data, window=window)
    assert [json.loads(element) for element in found] == list(chain(*map(records_in, values)))


def records_in(line: Any) -> list[Any]:
    """Count the records of a line: each object of an array is one."""
    several = isinstance(line, list) and line and all(isinstance(one, dict) for one in line)
    return line if several else [line]


# Each function damages the bytes of one element, whose text is "a, b [c] {d}".
DAMAGES = {
    "stray quote": (lambda e: e.replace(b'"v"', b'"v""'), "not_json"),
    "quote missing": (lambda e: e.replace(b'"v"', b'"v'), "not_json"),
    "quote missing in the first key": (lambda e: e.replace(b'"id"', b'"id'), "not_json"),
    "extra bracket": (lambda e: e.replace(b'"v"', b'["v"'), "not_json"),
    "extra closing bracket": (lambda e: e[:-1] + b"]}", "not_json"),
    "extra brace": (lambda e: b"{" + e, "readable"),
    "extra closing brace": (lambda e: e + b"}", "readable"),
    "missing bracket": (lambda e: e.replace(b"]}", b"}"), "not_json"),
    "invalid UTF-8": (lambda e: e.replace(b"[c]", b"\xff\xfe"), "not_utf8"),
    "lone surrogate": (lambda e: e.replace(b"[c]", b"\\ud800"), "lone_surrogate"),
    "raw newline": (lambda e: e.replace(b"[c]", b"\n"), "readable"),
    "NaN": (lambda e: e.replace(b'"a,', b'NaN, "a,'), "not_json"),
    "not an object": (lambda e: b"NaN", "not_json"),
    "3,000 deep": (lambda e: b'{"id": ' + b"[" * 3000 + b"]" * 3000 + b"}", "too_deep"),
}


def ten_elements() -> list[bytes]:
    record = {"id": 0, "v": "a, b [c] {d}", "boxes": [0.25, 1.5]}
    return [json.dumps(record | {"id": n}).encode() for n in range(10)]


@pytest.mark.parametrize("window", [3, 100, 4 << 20])
@pytest.mark.parametrize("place", [0, 5, 9])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_affects_one_element_only(
    name: str, place: int, window: int, tmp_path: Path
) -> None:
    damage, expected = DAMAGES[name]
    parts = ten_elements()
    parts[place] = damage(parts[place])
    found = elements(tmp_path / "f.json", b"[" + b",\n".join(parts) + b"]", window=window)
    assert [reason(e) for e in found] == ["readable"] * place + [expected] + ["readable"] * (
        9 - place
    )
    others = [value["id"] for value in readable(found) if value["id"] != place]
    assert others == [n for n in range(10) if n != place]


@pytest.mark.parametrize("window", [7, 4 << 20])
@pytest.mark.parametrize("first", DAMAGES)
@pytest.mark.parametrize("second", ["stray quote", "extra closing brace", "missing bracket"])
def test_two_damages_in_one_file_affect_two_elements(
    first: str, second: str, window: int, tmp_path: Path
) -> None:
    parts = ten_elements()
    for place, name in ((3, first), (6, second)):
        parts[place] = DAMAGES[name][0](parts[place])
    data = b'{"data": [' + b", ".join(parts) + b'], "n": 10}'
    found = elements(tmp_path / "f.json", data, key="data", window=max(window, 16))
    kept = [value["id"] for value in readable(found) if value["id"] not in (3, 6)]
    assert kept == [0, 1, 2, 4, 5, 7, 8, 9]


@pytest.mark.parametrize("cut", [2, 10, 30])
def test_a_truncated_file_loses_its_last_element_only(cut: int, tmp_path: Path) -> None:
    data = b"[" + b", ".join(ten_elements())
    found = elements(tmp_path / "f.json", data[:-cut])
    assert [reason(e) for e in found] == ["readable"] * 9 + ["truncated"]
    lines = b"\n".join(ten_elements())
    found = elements(tmp_path / "f.jsonl", lines[:-cut])
    assert [reason(e) for e in found] == ["readable"] * 9 + ["truncated"]


@pytest.mark.parametrize("past_the_edge", [-12, -3, -2, -1, 0, 1, 2])
def test_after_damage_the_next_element_is_found_across_a_block_border(
    past_the_edge: int, tmp_path: Path
) -> None:
    parts = ten_elements()
    opened = b'{"id": [0, "v": "'
    parts[1] = opened + b"x" * ((4 << 20) + past_the_edge - len(opened) - 2) + b'"}'
    found = elements(tmp_path / "f.json", b"[" + b", ".join(parts) + b"]")
    assert [value["id"] for value in readable(found)] == [0, 2, 3, 4, 5, 6, 7, 8, 9]


@in_one_folder
@given(
    st.lists(st.tuples(texts, st.lists(texts, max_size=2)), min_size=1, max_size=6),
    st.sampled_from([b",", b", ", b",\n", b" , "]),
    st.sampled_from([b"", b'{"id": 1', b"null", b'"{', b'{"v": "", "id": 0}', b"\xff", b", "]),
    st.integers(0, 6),
    windows,
)
def test_the_fast_split_finds_the_same_elements_as_a_scan(
    tmp_path: Path,
    contents: list[Any],
    between: bytes,
    odd: bytes,
    place: int,
    window: int,
) -> None:
    records = [{"id": n, "v": text, "more": more} for n, (text, more) in enumerate(contents)]
    parts = [json.dumps(record, ensure_ascii=False).encode() for record in records]
    data = b"[" + between.join([*parts[:place], odd, *parts[place:]]) + b"]"
    found = elements(tmp_path / "f.json", data, window=window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "imp_data.records.json_array.scanner.find_separator", lambda head, opening: None
        )
        assert elements(tmp_path / "f.json", data, window=window) == found


def test_in_valid_json_only_the_last_element_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[bytes] = []

    def record_scan(block: bytes, state: Any) -> Any:
        scanned.append(block)
        return scan(block, state)

    monkeypatch.setattr("imp_data.records.json_array.scanner.scan", record_scan)
    parts = ten_elements()
    assert elements(tmp_path / "f.json", b"[" + b", ".join(parts) + b"]", window=100)
    assert b"".join(scanned) == b" " + parts[-1] + b"]"


def insertions(*pieces: bytes) -> st.SearchStrategy[Any]:
    return st.sampled_from(pieces).map(lambda piece: lambda e, at: e[:at] + piece + e[at:])


damages = insertions(b'"', b"{", b"}", b"[", b"]", b"\\", b"\xff", b"\n", b"NaN") | st.sampled_from(
    [lambda e, at: e[:at] + e[at + 1 :], lambda e, at: b"null", lambda e, at: e[: at + 1]]
)


@in_one_folder
@given(
    st.lists(st.tuples(texts, st.lists(texts, max_size=2)), min_size=2, max_size=6),
    st.data(),
    damages,
    windows,
)
def test_damaging_one_element_leaves_all_others_readable_equal_and_in_order(
    tmp_path: Path, contents: list[Any], data: st.DataObject, damage: Any, window: int
) -> None:
    records = [{"id": n, "v": text, "more": more} for n, (text, more) in enumerate(contents)]
    parts = [json.dumps(record, ensure_ascii=False).encode() for record in records]
    place = data.draw(st.integers(0, len(parts) - 1), label="place")
    at = data.draw(st.integers(0, len(parts[place]) - 1), label="at")
    parts[place] = damage(parts[place], at)
    found = readable(elements(tmp_path / "f.json", b"[" + b", ".join(parts) + b"]", window=window))
    others = records[:place] + records[place + 1 :]
    assert [value for value in found if value in others] == others


def test_a_bracket_in_a_text_does_not_begin_a_record(tmp_path: Path) -> None:
    # The text after the bracket in the first record happens to be an object.
    data = b'[{"id": 0, "more": ["{"]}, {\\"id": 1, "more": []}, {"id": 2, "more": []}]'
    found = readable(elements(tmp_path / "f.json", data))
    assert [value["id"] for value in found] == [0, 2]
