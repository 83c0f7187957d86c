"""JSON files of every supported form are read; an error names any other form."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.ledger import Verdict
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans

FIELDS = frozenset({"conversations"})
HERE = settings(
    deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def record(number: int, text: str = "A thing.") -> dict[str, Any]:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": text}]
    return {"id": f"r{number}", "conversations": turns}


def dumped(text: dict[str, Any] | list[Any], **options: Any) -> bytes:
    return json.dumps(text, ensure_ascii=False, **options).encode()


def found(file: Path, data: bytes, window: int = 1 << 20, key: str | None = None) -> list[bytes]:
    file.write_bytes(data)
    return [
        data[start:end]
        for spans in json_spans(file, key, window, FIELDS)
        for start, end in zip(spans.starts, spans.ends, strict=True)
    ]


def values(elements: list[bytes]) -> list[Any]:
    return [None if isinstance(p, Verdict) else p[0] for p in map(parse, elements)]


def by_id(parts: list[bytes]) -> bytes:
    return b"{" + b",\n".join(b'"k%d": ' % n + part for n, part in enumerate(parts)) + b"}"


def in_pairs(parts: list[bytes], between: bytes) -> bytes:
    pairs = [parts[n : n + 2] for n in range(0, len(parts), 2)]
    return between.join(b"[" + b", ".join(pair) + b"]" for pair in pairs)


# Functions that write records, each one line of JSON, as a file of the form.
FORMS: dict[str, Callable[[list[bytes]], bytes]] = {
    "array": lambda parts: b"[" + b", ".join(parts) + b"]",
    "array over lines": lambda parts: b"[\n" + b",\n".join(parts) + b"\n]\n",
    "array with a comma at its end": lambda parts: b"[" + b",".join(parts) + b",]",
    "array behind a byte order mark": lambda parts: b"\xef\xbb\xbf[" + b",".join(parts) + b"]",
    "array without its end": lambda parts: b"[" + b",\n".join(parts),
    "lines": lambda parts: b"\n".join(parts) + b"\n",
    "lines without the last newline": b"\n".join,
    "lines behind a byte order mark": lambda parts: b"\xef\xbb\xbf" + b"\n".join(parts),
    "lines of Windows": lambda parts: b"\r\n".join(parts) + b"\r\n",
    "lines of old Macs": lambda parts: b"\r".join(parts) + b"\r",
    "lines with empty ones": lambda parts: b"\n\n  \n".join(parts),
    "lines with commas": lambda parts: b",\n".join(parts) + b",\n",
    "JSON text sequence": lambda parts: b"".join(b"\x1e" + part + b"\n" for part in parts),
    "side by side": b"".join,
    "side by side with spaces": b" ".join,
    "side by side with commas": b", ".join,
    "two files joined without a newline": lambda p: b"\n".join(p[:3]) + b"\n".join(p[3:]),
    "in data": lambda parts: b'{"data": [' + b", ".join(parts) + b"]}",
    "in data among other fields": lambda parts: (
        b'{"version": 1, "tags": ["a"], "records" :\n [' + b",".join(parts) + b'], "n": [{"a": 1}]}'
    ),
    "in an object in an object": lambda parts: (
        b'{"info": {"by": "us"}, "set": {"train": [' + b",".join(parts) + b"]}}"
    ),
    "by id": by_id,
    "by id in an object": lambda parts: b'{"all": ' + by_id(parts) + b"}\n",
    "two arrays in a row": lambda parts: (
        b"[" + b", ".join(parts[:3]) + b"]\n[" + b", ".join(parts[3:]) + b"]"
    ),
    "an array a line": lambda parts: in_pairs(parts, b"\n"),
    "arrays with commas": lambda parts: in_pairs(parts, b",\n"),
    "an array, then lines": lambda p: b"[" + b",".join(p[:3]) + b"]\n" + b"\n".join(p[3:]),
    "array with zero bytes after it": lambda parts: b"[" + b",".join(parts) + b"]" + bytes(99),
    "lines with zero bytes after them": lambda parts: b"\n".join(parts) + b"\n" + bytes(5000),
    "array with zero bytes for its end": lambda parts: b"[" + b",".join(parts) + bytes(99),
}
PRINTED: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "pretty-printed array": lambda records: dumped(records, indent=2),
    "pretty-printed objects": lambda some: b"\n".join(dumped(r, indent=2) for r in some),
    "pretty-printed without indents": lambda some: b"\n".join(dumped(r, indent=0) for r in some),
    "pretty-printed with commas": lambda some: b",\n".join(dumped(r, indent="\t") for r in some),
    "pretty-printed by id": lambda records: dumped({r["id"]: r for r in records}, indent=1),
    "pretty-printed in data": lambda records: dumped({"data": records}, indent=4),
}
WINDOWS = [40, 333, 1 << 20]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("form", [*FORMS, *PRINTED])
def test_records_are_read_in_every_form(form: str, window: int, tmp_path: Path) -> None:
    records = [record(n, 'She said: "{[}," \\ and ümlaut\n<image>') for n in range(8)]
    if form in FORMS:
        data = FORMS[form]([dumped(one) for one in records])
    else:
        data = PRINTED[form](records)
    assert values(found(tmp_path / "f.json", data, window)) == records


@pytest.mark.parametrize("form", ["by id", "by id in an object"])
def test_a_key_outside_a_record_becomes_its_id_unless_it_has_one(form: str, tmp_path: Path) -> None:
    bare = {"conversations": record(0)["conversations"]}
    data = FORMS[form]([dumped(bare), dumped(record(1))])
    assert values(found(tmp_path / "f.json", data)) == [{"id": "k0", **bare}, record(1)]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "stray quote": lambda e: e.replace(b'"A thing', b'""A thing'),
    "quote missing": lambda e: e.replace(b'"A thing', b"A thing"),
    "quote missing in the first key": lambda e: e.replace(b'"id"', b'"id'),
    "bracket missing": lambda e: e.replace(b"]}", b"}"),
    "brace missing": lambda e: e[:-1],
    "one bracket too many": lambda e: e.replace(b"]}", b"]]}"),
    "one brace too many in it": lambda e: e.replace(b"}, {", b"}}, {"),
    "comma missing": lambda e: e.replace(b'", "conv', b'" "conv'),
    "invalid UTF-8": lambda e: e.replace(b"thing", b"th\xffng"),
    "NaN": lambda e: e.replace(b'"What?"', b"NaN"),
    "cut": lambda e: e[: len(e) // 2],
    "lone surrogate": lambda e: e.replace(b"thing", b"\\ud800"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_costs_one_record_in_every_form(form: str, damage: str, tmp_path: Path) -> None:
    for place in (1, 2, 3, 4, 6):
        parts = [dumped(record(n)) for n in range(8)]
        parts[place] = DAMAGES[damage](parts[place])
        read = values(found(tmp_path / "f.json", FORMS[form](parts)))
        assert read == [None if n == place else record(n) for n in range(8)], place


@HERE
@example(
    texts=[""] * 4,
    form="an array a line",
    damaged={1, 2},
    damage="quote missing in the first key",
    window=40,
)
@given(
    texts=st.lists(st.text(max_size=12), min_size=4, max_size=9),
    form=st.sampled_from(sorted(FORMS)),
    damaged=st.sampled_from([set(), {1}, {3}, {1, 2}, {1, 3}, {2, 5}, {2, 3, 4}, {2, 4, 7}]),
    damage=st.sampled_from(sorted(DAMAGES)),
    window=st.sampled_from(WINDOWS),
)
def test_a_file_of_n_records_has_n_rows(
    tmp_path: Path, texts: list[str], form: str, damaged: set[int], damage: str, window: int
) -> None:
    records = [record(n, f"A thing. {text}") for n, text in enumerate(texts)]
    parts = [json.dumps(one).encode() for one in records]
    for place in damaged & {*range(len(parts))}:
        parts[place] = DAMAGES[damage](parts[place])
        # After a record truncated at these, the next record may be read as its value.
        assume(not parts[place].rstrip().endswith((b":", b"[", b"{")))
    elements = found(tmp_path / "f.json", FORMS[form](parts), window)
    assert len(elements) == len(records)
    sound = [one for n, one in enumerate(records) if n not in damaged]
    # The last of objects by id may lack its brace, and be closed by that of the outer object.
    assert [value for value in values(elements) if value in sound] == sound


def test_a_newline_inside_a_record_does_not_make_two_lines_of_it(tmp_path: Path) -> None:
    parts = [dumped(record(n)) for n in range(5)]
    parts[1] = parts[1].replace(b"thing", b"thing\n")
    parts[3] = parts[3].replace(b", ", b",\n ", 1)
    broken = record(1, "A thing\n.")
    read = values(found(tmp_path / "f.jsonl", b"\n".join(parts)))
    assert read == [record(0), broken, record(2), record(3), record(4)]


def test_a_record_longer_than_a_window_is_read(tmp_path: Path) -> None:
    records = [record(0), record(1, "x" * (3 << 20)), record(2)]
    for form in ("array", "lines", "side by side", "by id"):
        data = FORMS[form]([dumped(one) for one in records])
        assert values(found(tmp_path / "f.json", data)) == records


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("records.json", data)
    return out.getvalue()


ARRAY = dumped([record(0), record(1)])


def test_a_damaged_first_record_does_not_hide_the_form(tmp_path: Path) -> None:
    records = [{**record(n), "meta": {"id": "x"}} for n in range(6)]
    parts = [dumped(one) for one in records]
    parts[0] = parts[0].replace(b'"r0"', b'{"r0"')
    read = values(found(tmp_path / "f.json", b", ".join(parts)))
    assert read == [None, *records[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_file_of_n_records_has_n_rows(form: str, tmp_path: Path) -> None:
    ways = product(DAMAGES, [{1}, {3}, {1, 2}, {1, 3}, {2, 5}, {2, 3, 4}, {2, 4, 7}], (4, 5, 9))
    for damage, damaged, count in ways:
        parts = [dumped(record(n)) for n in range(count)]
        for place in damaged & {*range(count)}:
            parts[place] = DAMAGES[damage](parts[place])
        for window in WINDOWS:
            elements = found(tmp_path / "f.json", FORMS[form](parts), window)
            assert len(elements) == count, (damage, damaged, count, window)


@pytest.mark.parametrize("between", [b"", b"\n"])
def test_two_adjacent_truncated_records_are_two_rows(between: bytes, tmp_path: Path) -> None:
    parts = [dumped(record(n)) for n in range(4)]
    parts[1], parts[2] = parts[1][:50], parts[2][:50]
    read = values(found(tmp_path / "f.json", between.join(parts)))
    assert read == [record(0), None, None, record(3)]


@pytest.mark.parametrize(
    ("data", "problem", "remedy"),
    [
        (gzip.compress(ARRAY, mtime=0), "is a gzip file, not JSON text", "end its name in .gz"),
        (zipped(ARRAY), "is a zip archive, not JSON text", "unzip"),
        (ARRAY.decode().encode("utf-16"), "is text in UTF-16, not JSON text", "iconv"),
        (ARRAY.decode().encode("utf-16-le"), "is text in UTF-16, not JSON text", "iconv"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html><p>Sign in</p>", "is an HTML page, not JSON text", "browser"),
        (b"PAR1\0\0", "is a Parquet file, not JSON text", "JSON Lines"),
        (b" \n ", "is empty", "again"),
        (b'{"a": 1, "b": {"c": [{"d": 2}]}}', "one JSON object (a, b)", "JSON Lines"),
        (dumped({"data": []}), "one JSON object (data)", "JSON Lines"),
        (
            dumped({"train": [record(0)], "val": [record(1)]}),
            "holds records in more than one place: train and val",
            "separate file",
        ),
        (
            dumped({"train": [record(0)]}) + b"\n" + dumped({"val": [record(1)]}),
            "after the end of its records",
            "one array",
        ),
        (
            dumped({"parts": [{"records": [record(0)]}]}),
            "lists within a list, at parts[…].records",
            "one array",
        ),
    ],
)
def test_an_unsupported_form_is_an_error_with_a_remedy(
    data: bytes, problem: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        found(tmp_path / "f.json", data)
    assert problem in error.value.problem and remedy in error.value.remedy
    assert "delete" not in error.value.remedy


def test_the_array_named_by_the_layout_is_preferred(tmp_path: Path) -> None:
    data = dumped({"seen": [record(0)], "data": [record(1)], "more": [record(2)]})
    assert values(found(tmp_path / "f.json", data, key="data")) == [record(1)]


@pytest.mark.parametrize("form", ["array", "lines", "by id"])
def test_a_layout_that_names_an_array_also_reads_other_forms(form: str, tmp_path: Path) -> None:
    data = FORMS[form]([dumped(record(n)) for n in range(3)])
    assert values(found(tmp_path / "f.json", data, key="data")) == [record(n) for n in range(3)]
