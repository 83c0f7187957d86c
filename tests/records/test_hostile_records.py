"""A hostile record (large, slow, odd or damaged) affects no other record."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow.parquet as pq
import pytest

from imp_data.errors import UserError
from imp_data.ledger import RECORDS_LEDGER_SCHEMA, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records import chunk as chunk_module
from imp_data.records.build import build_records
from imp_data.records.chunk import ChunkResult
from imp_data.records.json_array import (
    json_lines,
    record_finder,
    recovery,
    scanner,
    structure,
    text_window,
)
from imp_data.records.json_array.parse import parse, parse_exactly
from imp_data.records.json_array.scanner import json_spans
from imp_data.records.json_array.spans import read_at
from imp_data.records.record_chunk import Chunk

FIELDS = frozenset({"conversations"})


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMP_WORKERS", "1")


def source(layout: str = "llava", records: str = "f.json") -> Source:
    return Source(
        name="some",
        title="Some",
        homepage="https://example.org",
        license="MIT",
        layout=layout,
        records=(records,),
        prompts=("What is shown?",),
    )


def record(number: int, answer: str = "A thing.") -> dict[str, Any]:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": answer}]
    return {"id": f"r{number}", "conversations": turns}


def dump_record(number: int, answer: str = "A thing.") -> bytes:
    return json.dumps(record(number, answer)).encode()


def ledger_outcomes(
    raw: Path, of: Source | None = None, **limits: int
) -> list[tuple[Any, Any, Any]]:
    """Return the upstream id, reason and evidence of each ledger row."""
    ledger = raw / "out" / "some.parquet"
    build_records(of or source(), raw, Limits(**limits), raw / "out" / "some.arrow", ledger)
    rows = pq.read_table(ledger, schema=RECORDS_LEDGER_SCHEMA).sort_by("ordinal").to_pylist()
    assert [row["ordinal"] for row in rows] == [*range(len(rows))]
    return [(r["upstream_id"], r["reason"], orjson.loads(r["evidence"] or "null")) for r in rows]


# Size


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("between", [",\n", "\n"])
def test_a_record_above_the_size_limit_is_dropped_whether_valid_or_not(
    between: str, tmp_path: Path
) -> None:
    large = dump_record(1, "x" * 5000)
    parts = [dump_record(0), large, dump_record(2), large[:-1], dump_record(4)]
    data = between.encode().join(parts)
    (tmp_path / "f.json").write_bytes(b"[" + data + b"]" if between == ",\n" else data)
    found = ledger_outcomes(tmp_path, max_record_bytes=1000)
    assert [(name, reason) for name, reason, _ in found] == [
        ("r0", None),
        (None, "record_too_large"),
        ("r2", None),
        (None, "record_too_large"),
        ("r4", None),
    ]
    assert found[1][2]["most"] == 1000
    assert 0 <= found[1][2]["bytes"] - len(large) <= 1  # including the newline before it


@pytest.mark.usefixtures("one_worker")
def test_white_space_and_zero_bytes_around_a_record_do_not_count(tmp_path: Path) -> None:
    blank = b" " * (3 << 20)
    parts = [dump_record(0), blank + dump_record(1), dump_record(2)]
    (tmp_path / "f.json").write_bytes(b"[" + b",".join(parts) + bytes(3 << 20))
    assert [name for name, _, _ in ledger_outcomes(tmp_path, max_record_bytes=1 << 20)] == [
        "r0",
        "r1",
        "r2",
    ]


@pytest.mark.usefixtures("one_worker")
def test_questions_on_one_image_that_together_exceed_the_limit_are_all_dropped(
    tmp_path: Path,
) -> None:
    def question(number: int, image: str) -> dict[str, Any]:
        text = {"question": "What is it?", "answer": "a bar"}
        return {"image": image, "question_id": number, **text}

    rows = [question(n, "crowded.png" if n % 2 else f"{n}.png") for n in range(40)]
    (tmp_path / "f.json").write_text(json.dumps(rows))
    found = ledger_outcomes(tmp_path, source("dvqa"), max_record_bytes=400)
    assert [reason for _, reason, _ in found] == [None, "record_too_large"] * 20
    size = sum(len(json.dumps(row)) + 1 for row in rows if row["image"] == "crowded.png")
    assert found[1][2]["most"] == 400 and abs(found[1][2]["bytes_on_image"] - size) < 20


@pytest.mark.usefixtures("one_worker")
def test_a_diagram_file_above_the_size_limit_is_one_row(tmp_path: Path) -> None:
    asked = {"abcLabel": False, "answerTexts": ["sun", "moon"], "correctAnswer": 0}
    folder = tmp_path / "questions"
    folder.mkdir()
    for number, padding in enumerate(["", "x" * 2000, ""]):
        whole = {"imageName": f"{number}.png", "questions": {"Which?": asked}, "url": padding}
        (folder / f"{number}.png.json").write_text(json.dumps(whole))
    found = ledger_outcomes(tmp_path, source("ai2d", "questions/*.json"), max_record_bytes=1000)
    assert [reason for _, reason, _ in found] == [None, "record_too_large", None]


_MEASURE = """
import resource, sys
from pathlib import Path
import tests.records.test_hostile_records as t
raw = Path(sys.argv[1])
peaks = []
for name in ("small", "large"):
    (raw / name).rename(raw / "f.json")
    t.ledger_outcomes(raw, max_record_bytes=1 << 20)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


def test_an_oversized_record_is_never_held_in_memory(tmp_path: Path) -> None:
    size = 96 << 20
    for name, characters in (("small", 10), ("large", size)):
        with (tmp_path / name).open("wb") as file:
            file.write(b"[" + dump_record(0) + b", " + dump_record(1)[:-4])
            for _ in range(max(characters >> 20, 1)):
                file.write(b"a" * min(characters, 1 << 20))
            file.write(dump_record(1)[-4:] + b", " + dump_record(2) + b"]")
    environment = {**os.environ, "IMP_WORKERS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    grown = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(grown.stdout.splitlines()[-1]) << 10 < size // 2


# Time

HOSTILE = {
    "backslashes": b'{"id": "' + b"\\" * 1000,
    "quotes": b'"' * 1000,
    "open brackets": b"[" * 1000,
    "openings": b'{"id": ' * 140,
    "openings in lists": b'{"id": [' * 125,
    "openings in lines": b'{"id": [\n' * 110,
    "braces in lines": b"{\n" * 500,
    "records without end": b"".join(dump_record(n)[:-1] for n in range(10)),
    "records without end, with commas": b",".join(dump_record(n)[:-1] for n in range(10)),
    "records with a quote too few": b",".join(
        dump_record(n).replace(b'"gpt', b"gpt") for n in range(9)
    ),
    "beginnings of records": b",".join([b'{"id": "}'] * 100),
    "garbage": b"x," * 500,
    "closing brackets": b"]" * 1000,
    "closing brackets and commas": b"]," * 500,
    "white space": b" " * 1000,
    "zero bytes": bytes(1000),
    "newlines": b"\n" * 1000,
    "keys": b'"k": 1,' * 140,
}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["array", "lines", "by id"])
@pytest.mark.parametrize("name", HOSTILE)
def test_the_bytes_read_to_find_records_grow_linearly_with_the_file(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_read = 0

    def count_reads(file: BinaryIO, position: int, size: int) -> bytes:
        nonlocal bytes_read
        data = read_at(file, position, size)
        bytes_read += len(data)
        return data

    for module in (record_finder, scanner, structure, recovery, text_window, json_lines):
        monkeypatch.setattr(module, "read_at", count_reads)
    begin, between, end = {"array": ("[", ",\n", "]"), "lines": ("", "\n", "")}.get(
        form, ('{"k": ', ',\n"k": ', "}")
    )
    totals = []
    for times in (30, 120):
        hostile = HOSTILE[name] * times
        parts = [dump_record(0), dump_record(1), hostile, dump_record(2), dump_record(3)]
        data = begin.encode() + between.encode().join(parts) + end.encode()
        (tmp_path / "f.json").write_bytes(data)
        bytes_read = 0
        for _ in json_spans(tmp_path / "f.json", fields=FIELDS, max_bytes=1 << 16):
            pass
        totals.append(bytes_read / len(data))
    # The file is four times as large; the bytes read per byte may at most double.
    assert totals[1] < 2 * totals[0] + 64


def stop_at_three(chunk: Chunk, end: signal.Signals | None, **others: Any) -> ChunkResult:
    """Kill the process that reads record 3, or never return from reading it."""
    if 3 in chunk.ordinals.tolist():
        while end is None:
            pass
        os.kill(os.getpid(), end)
    return chunk_module.process_chunk(chunk, **others)


def crash_at_three(chunk: Chunk, **others: Any) -> ChunkResult:
    return stop_at_three(chunk, signal.SIGSEGV, **others)


def hang_at_three(chunk: Chunk, **others: Any) -> ChunkResult:
    return stop_at_three(chunk, None, **others)


@pytest.mark.parametrize(
    ("reader", "problem"),
    [
        (crash_at_three, "crashes its reader"),
        (hang_at_three, "keeps its reader busy for more than 1 s"),
    ],
)
@pytest.mark.parametrize("layout", ["llava", pytest.param("dvqa", marks=pytest.mark.slow)])
def test_a_record_that_kills_its_reader_is_isolated(
    layout: str, reader: Any, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", "2")
    monkeypatch.setattr("imp_data.records.build.process_chunk", reader)
    rows = [record(n) for n in range(6)]
    if layout == "dvqa":
        text = {"question": "What is it?", "answer": "a bar"}
        rows = [{"image": f"{n}.png", "question_id": n, **text} for n in range(6)]
    (tmp_path / "f.json").write_text(json.dumps(rows))
    found = ledger_outcomes(tmp_path, source(layout), max_read_seconds=1)
    names = [str(n) if layout == "dvqa" else f"r{n}" for n in range(6)]
    expected: list[tuple[Any, Any, Any]] = [(name, None, None) for name in names]
    expected[3] = (None, "reader_failed", {"problem": problem})
    assert found == expected


# Odd values


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (b"1e999", "not_json"),
        (b"7" * 5000, "not_json"),
        (b'"\\ud800"', "lone_surrogate"),
        (b'"\xff"', "not_utf8"),
        (b"[" * 980 + b"]" * 980, "unread_field"),
        (b"[" * 5000 + b"]" * 5000, "too_deep"),
        (b"{" + b",".join(b'"k%d": 1' % n for n in range(20_000)) + b"}", "unread_field"),
        (b'"a\0b"', "unread_field"),
        (b"7" * 400, None),
    ],
)
def test_odd_values_have_their_reasons_and_affect_no_other_record(
    field: bytes, reason: str | None, tmp_path: Path
) -> None:
    odd = dump_record(1)[:-1] + b', "x": ' + field + b"}"
    (tmp_path / "f.json").write_bytes(
        b"[" + b", ".join([dump_record(0), odd, dump_record(2)]) + b"]"
    )
    assert [why for _, why, _ in ledger_outcomes(tmp_path)] == [None, reason, None]


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("depth", [200, 980, 1020])
def test_a_deeply_nested_id_stops_nothing(depth: int, tmp_path: Path) -> None:
    nested = b'{"id": ' + b"[" * depth + b"]" * depth + b"," + dump_record(1)[12:]
    (tmp_path / "f.json").write_bytes(
        b"[" + b", ".join([dump_record(0), nested, dump_record(2)]) + b"]"
    )
    found = ledger_outcomes(tmp_path)
    assert [found[0][1], found[2][1]] == [None, None]
    assert found[1][1] in (None, "too_deep")


@pytest.mark.parametrize(
    "element",
    [
        b'\xef\xbb\xbf{"a": 1}',
        b'\n\0\0{"a": 1}\0 \0',
        b'\0\xef\xbb\xbf\0{"a": 1}',
        b'{"a": 1}]',
        b'{"a": 1}}, ',
    ],
)
def test_marks_zero_bytes_and_brackets_around_a_record_are_stripped(element: bytes) -> None:
    assert parse(element) == ({"a": 1}, [])


def test_positions_in_evidence_count_from_the_start_of_the_element() -> None:
    found = parse(b' \n{"a": "\xff"}')
    assert isinstance(found, Verdict) and found.evidence["byte"] == 9


def test_a_long_id_after_a_byte_order_mark_is_exact() -> None:
    assert parse_exactly(b'\xef\xbb\xbf{"id": ' + b"7" * 25 + b"}\0") == {"id": int("7" * 25)}


# Damage beside a record


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"[%s, %s] garbage", ["r0", "r1", "not_json"]),
        (b"[%s, %s]<html>", ["r0", "r1", "not_json"]),
        (b"[%s][%s]", ["r0", "r1"]),
        (b'{"data": [%s][%s]}', ["r0", "r1"]),
        (b'{"data": [%s], %s]}', ["r0", "r1"]),
        (b"[%s x %s]", ["r0", "not_json", "r1"]),
        (b"[%s %s]", ["r0", "r1"]),
        (b"[%s}, %s]", ["r0", "r1"]),
        (b"[%s, {%s]", ["r0", "r1"]),
        (b"[%s, [%s]", ["r0", "r1"]),
        (b'{"k0": %s}, "k1": %s}', ["r0", "r1"]),
        (b"%s\ngarbage\n%s", ["r0", "not_json", "r1"]),
        (b"%s]\n%s", ["r0", "r1"]),
    ],
)
def test_text_beside_records_affects_none_of_them(
    data: bytes, found: list[str], tmp_path: Path
) -> None:
    (tmp_path / "f.json").write_bytes(data % (dump_record(0), dump_record(1)))
    assert [name or reason for name, reason, _ in ledger_outcomes(tmp_path)] == found


@pytest.mark.usefixtures("one_worker")
def test_a_record_that_lacks_a_bracket_does_not_swallow_others(
    tmp_path: Path,
) -> None:
    parts = [b'"k%d": ' % n + dump_record(n) for n in range(4)]
    parts[1] = parts[1][:-1]
    (tmp_path / "f.json").write_bytes(b'{"all": {' + b", ".join(parts) + b"}}")
    assert [(n, why) for n, why, _ in ledger_outcomes(tmp_path)] == [
        ("r0", None),
        (None, "truncated"),
        ("r2", None),
        ("r3", None),
    ]


def test_records_in_two_places_are_an_error(tmp_path: Path) -> None:
    data = b'{"train": [%s]}\n{"val": [%s]}' % (dump_record(0), dump_record(1))
    (tmp_path / "f.json").write_bytes(data)
    with pytest.raises(UserError, match="after the end of its records"):
        list(json_spans(tmp_path / "f.json", fields=FIELDS))
