"""One hostile record costs itself: its size, its time and its damage are nobody else's."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imp_data.errors import UserError
from imp_data.ledger import RECORDS_LEDGER_SCHEMA, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records import chunk as chunk_module
from imp_data.records.build import build_records
from imp_data.records.chunk import Batch
from imp_data.records.json_array import anchors, json_lines, recovery, scanner, text_window
from imp_data.records.json_array.parse import parse, parse_exactly
from imp_data.records.json_array.scanner import json_spans
from imp_data.records.json_array.spans import read_at
from imp_data.records.layouts.base import Chunk

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


def dumped(number: int, answer: str = "A thing.") -> bytes:
    return json.dumps(record(number, answer)).encode()


def fates(raw: Path, of: Source | None = None, **limits: int) -> list[tuple[Any, Any, Any]]:
    """Of each row of the ledger: what the record calls itself, the reason, the evidence."""
    ledger = raw / "out" / "some.parquet"
    build_records(of or source(), raw, Limits(**limits), raw / "out" / "some.arrow", ledger)
    rows = pq.read_table(ledger, schema=RECORDS_LEDGER_SCHEMA).sort_by("ordinal").to_pylist()
    assert [row["ordinal"] for row in rows] == [*range(len(rows))]
    return [(r["upstream_id"], r["reason"], orjson.loads(r["evidence"] or "null")) for r in rows]


# --- size ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("between", [",\n", "\n"])
def test_a_record_larger_than_the_limit_is_refused_whether_it_is_sound_or_not(
    between: str, tmp_path: Path
) -> None:
    large = dumped(1, "x" * 5000)
    parts = [dumped(0), large, dumped(2), large[:-1], dumped(4)]
    data = between.encode().join(parts)
    (tmp_path / "f.json").write_bytes(b"[" + data + b"]" if between == ",\n" else data)
    found = fates(tmp_path, max_record_bytes=1000)
    assert [(name, reason) for name, reason, _ in found] == [
        ("r0", None),
        (None, "record_too_large"),
        ("r2", None),
        (None, "record_too_large"),
        ("r4", None),
    ]
    assert found[1][2]["most"] == 1000
    assert 0 <= found[1][2]["bytes"] - len(large) <= 1  # with the newline before it


@pytest.mark.usefixtures("one_worker")
def test_white_space_and_zero_bytes_around_a_record_are_not_counted(tmp_path: Path) -> None:
    blank = b" " * (3 << 20)
    parts = [dumped(0), blank + dumped(1), dumped(2)]
    (tmp_path / "f.json").write_bytes(b"[" + b",".join(parts) + bytes(3 << 20))
    assert [name for name, _, _ in fates(tmp_path, max_record_bytes=1 << 20)] == ["r0", "r1", "r2"]


@pytest.mark.usefixtures("one_worker")
def test_questions_on_one_image_that_are_too_much_together_are_refused_each(
    tmp_path: Path,
) -> None:
    def question(number: int, image: str) -> dict[str, Any]:
        text = {"question": "What is it?", "answer": "a bar"}
        return {"image": image, "question_id": number, **text}

    rows = [question(n, "crowded.png" if n % 2 else f"{n}.png") for n in range(40)]
    (tmp_path / "f.json").write_text(json.dumps(rows))
    found = fates(tmp_path, source("dvqa"), max_record_bytes=400)
    assert [reason for _, reason, _ in found] == [None, "record_too_large"] * 20
    size = sum(len(json.dumps(row)) + 1 for row in rows if row["image"] == "crowded.png")
    assert found[1][2]["most"] == 400 and abs(found[1][2]["bytes_on_image"] - size) < 20


@pytest.mark.usefixtures("one_worker")
def test_a_diagram_s_file_larger_than_the_limit_is_one_row(tmp_path: Path) -> None:
    asked = {"abcLabel": False, "answerTexts": ["sun", "moon"], "correctAnswer": 0}
    folder = tmp_path / "questions"
    folder.mkdir()
    for number, padding in enumerate(["", "x" * 2000, ""]):
        whole = {"imageName": f"{number}.png", "questions": {"Which?": asked}, "url": padding}
        (folder / f"{number}.png.json").write_text(json.dumps(whole))
    found = fates(tmp_path, source("ai2d", "questions/*.json"), max_record_bytes=1000)
    assert [reason for _, reason, _ in found] == [None, "record_too_large", None]


_MEASURE = """
import resource, sys
from pathlib import Path
import tests.records.test_hostile_records as t
raw = Path(sys.argv[1])
peaks = []
for name in ("small", "large"):
    (raw / name).rename(raw / "f.json")
    t.fates(raw, max_record_bytes=1 << 20)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


def test_what_is_refused_for_its_size_is_never_held_in_memory(tmp_path: Path) -> None:
    size = 96 << 20
    for name, characters in (("small", 10), ("large", size)):
        with (tmp_path / name).open("wb") as file:
            file.write(b"[" + dumped(0) + b", " + dumped(1)[:-4])
            for _ in range(max(characters >> 20, 1)):
                file.write(b"a" * min(characters, 1 << 20))
            file.write(dumped(1)[-4:] + b", " + dumped(2) + b"]")
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


# --- time ---------------------------------------------------------------------------------------

HOSTILE = {
    "backslashes": b'{"id": "' + b"\\" * 1000,
    "quotes": b'"' * 1000,
    "open brackets": b"[" * 1000,
    "openings": b'{"id": ' * 140,
    "openings in lists": b'{"id": [' * 125,
    "openings in lines": b'{"id": [\n' * 110,
    "braces in lines": b"{\n" * 500,
    "records without end": b"".join(dumped(n)[:-1] for n in range(10)),
    "records without end, with commas": b",".join(dumped(n)[:-1] for n in range(10)),
    "records with a quote too few": b",".join(dumped(n).replace(b'"gpt', b"gpt") for n in range(9)),
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
def test_what_is_looked_at_in_search_of_records_grows_with_the_file_and_no_faster(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0

    def counted(file: BinaryIO, position: int, size: int) -> bytes:
        nonlocal looked_at
        data = read_at(file, position, size)
        looked_at += len(data)
        return data

    for module in (anchors, scanner, recovery, text_window, json_lines):
        monkeypatch.setattr(module, "read_at", counted)
    begin, between, end = {"array": ("[", ",\n", "]"), "lines": ("", "\n", "")}.get(
        form, ('{"k": ', ',\n"k": ', "}")
    )
    totals = []
    for times in (60, 240):
        hostile = HOSTILE[name] * times
        parts = [dumped(0), dumped(1), hostile, dumped(2), dumped(3)]
        data = begin.encode() + between.encode().join(parts) + end.encode()
        (tmp_path / "f.json").write_bytes(data)
        looked_at = 0
        for _ in json_spans(tmp_path / "f.json", fields=FIELDS, most=1 << 16):
            pass
        totals.append(looked_at / len(data))
    # Of four times the bytes no more than some times four times as much.
    assert totals[1] < 2 * totals[0] + 64


def end_at_three(chunk: Chunk, end: signal.Signals | None, **others: Any) -> Batch:
    """End the process that has the record 3 to read; or never come to an end with it."""
    if 3 in chunk.ordinals.tolist():
        while end is None:
            pass
        os.kill(os.getpid(), end)
    return chunk_module.process(chunk, **others)


def crash(chunk: Chunk, source: Source, limits: Limits) -> Batch:
    return end_at_three(chunk, signal.SIGSEGV, source=source, limits=limits)


def stay(chunk: Chunk, source: Source, limits: Limits) -> Batch:
    return end_at_three(chunk, None, source=source, limits=limits)


@pytest.mark.parametrize(
    ("reader", "problem"),
    [(crash, "crashes its reader"), (stay, "keeps its reader busy for more than 1 s")],
)
@pytest.mark.parametrize("layout", ["llava", "dvqa"])
def test_a_record_that_its_reader_does_not_survive_is_told_from_the_others(
    layout: str, reader: Any, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", "2")
    monkeypatch.setattr("imp_data.records.build.process", reader)
    rows = [record(n) for n in range(6)]
    if layout == "dvqa":
        text = {"question": "What is it?", "answer": "a bar"}
        rows = [{"image": f"{n}.png", "question_id": n, **text} for n in range(6)]
    (tmp_path / "f.json").write_text(json.dumps(rows))
    found = fates(tmp_path, source(layout), max_read_seconds=1)
    names = [str(n) if layout == "dvqa" else f"r{n}" for n in range(6)]
    expected: list[tuple[Any, Any, Any]] = [(name, None, None) for name in names]
    expected[3] = (None, "reader_failed", {"problem": problem})
    assert found == expected


# --- odd values ---------------------------------------------------------------------------------


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
def test_odd_values_have_their_reasons_and_cost_no_other_record(
    field: bytes, reason: str | None, tmp_path: Path
) -> None:
    odd = dumped(1)[:-1] + b', "x": ' + field + b"}"
    (tmp_path / "f.json").write_bytes(b"[" + b", ".join([dumped(0), odd, dumped(2)]) + b"]")
    assert [why for _, why, _ in fates(tmp_path)] == [None, reason, None]


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("depth", [200, 980, 1020])
def test_an_id_that_is_nested_deeply_stops_nothing(depth: int, tmp_path: Path) -> None:
    nested = b'{"id": ' + b"[" * depth + b"]" * depth + b"," + dumped(1)[12:]
    (tmp_path / "f.json").write_bytes(b"[" + b", ".join([dumped(0), nested, dumped(2)]) + b"]")
    found = fates(tmp_path)
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
def test_marks_zero_bytes_and_brackets_around_a_record_are_no_part_of_it(element: bytes) -> None:
    assert parse(element) == ({"a": 1}, [])


def test_evidence_counts_from_where_the_element_begins() -> None:
    found = parse(b' \n{"a": "\xff"}')
    assert isinstance(found, Verdict) and found.evidence["byte"] == 9


def test_a_long_id_behind_a_byte_order_mark_is_exact() -> None:
    assert parse_exactly(b'\xef\xbb\xbf{"id": ' + b"7" * 25 + b"}\0") == {"id": int("7" * 25)}


# --- damage beside a record ---------------------------------------------------------------------


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
def test_what_stands_beside_records_costs_none_of_them(
    data: bytes, found: list[str], tmp_path: Path
) -> None:
    (tmp_path / "f.json").write_bytes(data % (dumped(0), dumped(1)))
    assert [name or reason for name, reason, _ in fates(tmp_path)] == found


@pytest.mark.usefixtures("one_worker")
def test_a_record_with_the_brackets_of_the_file_around_it_has_not_swallowed_the_others(
    tmp_path: Path,
) -> None:
    parts = [b'"k%d": ' % n + dumped(n) for n in range(4)]
    parts[1] = parts[1][:-1]
    (tmp_path / "f.json").write_bytes(b'{"all": {' + b", ".join(parts) + b"}}")
    assert [(n, why) for n, why, _ in fates(tmp_path)] == [
        ("r0", None),
        (None, "truncated"),
        ("r2", None),
        ("r3", None),
    ]


def test_records_in_two_places_are_an_error_and_no_garbage(tmp_path: Path) -> None:
    data = b'{"train": [%s]}\n{"val": [%s]}' % (dumped(0), dumped(1))
    (tmp_path / "f.json").write_bytes(data)
    with pytest.raises(UserError, match="after the end of its records"):
        list(json_spans(tmp_path / "f.json", fields=FIELDS))


# --- Parquet ------------------------------------------------------------------------------------

NAMES = ("link", "caption", "message_id")
LAION = source("laion_gpt4v", "f.parquet")


def captions(file: Path, count: int, caption: str = "A cat", **options: Any) -> None:
    columns = {name: [f"{name} {n}" for n in range(count)] for name in NAMES}
    columns["caption"] = [f"{caption} {n}" for n in range(count)]
    options = {"row_group_size": 100, "write_page_checksum": True, **options}
    pq.write_table(pa.table(columns), file, **options)


def flip(file: Path, group: int, column: int, beyond: int = 0) -> None:
    """Change a byte of a column's first data page."""
    chunk = pq.ParquetFile(file).metadata.row_group(group).column(column)
    data = bytearray(file.read_bytes())
    data[chunk.data_page_offset + beyond] ^= 0xFF
    file.write_bytes(data)


def kept(found: list[tuple[Any, Any, Any]]) -> list[str]:
    return [name for name, reason, _ in found if reason is None]


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("beyond", [0, 90])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_page_that_does_not_decode_costs_its_row_group_and_one_row_counts_them(
    column: int, beyond: int, tmp_path: Path
) -> None:
    captions(tmp_path / "f.parquet", 300)
    flip(tmp_path / "f.parquet", 1, column, beyond)
    found = fates(tmp_path, LAION)
    assert kept(found) == [f"message_id {n}" for n in (*range(100), *range(200, 300))]
    [(name, reason, evidence)] = [one for one in found if one[1]]
    assert (name, reason, evidence.pop("problem") != "") == (None, "rows_lost", True)
    assert evidence == {"file": "f.parquet", "first_row": 0, "row_group": 1, "rows": 100}


@pytest.mark.usefixtures("one_worker")
def test_rows_before_a_page_that_does_not_decode_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    captions(file, 6000, row_group_size=6000, data_page_size=1000, use_dictionary=False)
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(1)
    flip(file, 0, 1, chunk.total_compressed_size - 100)
    found = fates(tmp_path, LAION)
    assert kept(found) == [f"message_id {n}" for n in range(4096)]
    assert found[-1][2]["first_row"] == 4096 and found[-1][2]["rows"] == 1904


@pytest.mark.usefixtures("one_worker")
def test_images_are_named_by_their_rows_upstream_though_rows_are_lost(tmp_path: Path) -> None:
    captions(tmp_path / "f.parquet", 300)
    flip(tmp_path / "f.parquet", 1, 0)
    fates(tmp_path, LAION)
    with pa.OSFile(str(tmp_path / "out/some.arrow")) as file:
        images = pa.ipc.open_file(file).read_all().column("image").to_pylist()
    assert images == [f"gpt_v{n}.jpg" for n in (*range(100), *range(200, 300))]


@pytest.mark.usefixtures("one_worker")
def test_a_file_of_which_nothing_decodes_is_an_error_that_names_it(tmp_path: Path) -> None:
    captions(tmp_path / "f.parquet", 100)
    flip(tmp_path / "f.parquet", 0, 0)
    with pytest.raises(UserError, match="is not a whole Parquet file") as error:
        fates(tmp_path, LAION)
    assert error.value.where == str(tmp_path / "f.parquet")


def restate(file: Path, count: int, by: int, which: int) -> None:
    """Let the footer say another number where one of its 64-bit fields says `count`."""

    def field(number: int) -> bytes:
        number, out = 2 * number, b""
        while number > 127:
            out += bytes([number & 127 | 128])
            number >>= 7
        return b"\x16" + out + bytes([number])

    data = file.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    parts = data[-8 - size : -8].split(field(count))
    begin, end = field(count).join(parts[: which + 1]), field(count).join(parts[which + 1 :])
    footer = begin + field(by) + end
    file.write_bytes(data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize(
    ("count", "by", "which", "lost"),
    [
        (300, 10**12, 0, 10**12 - 300),  # the footer's count of all rows
        (300, 0, 0, 0),
        (100, 10**12, 3, 10**12 - 100),  # the first row group's
    ],
)
def test_a_footer_that_lies_about_its_rows_is_told_of_and_all_rows_are_read(
    count: int, by: int, which: int, lost: int, tmp_path: Path
) -> None:
    captions(tmp_path / "f.parquet", 300)
    restate(tmp_path / "f.parquet", count, by, which)
    found = fates(tmp_path, LAION)
    assert kept(found) == [f"message_id {n}" for n in range(300)]
    told = [evidence for _, reason, evidence in found if reason == "rows_lost"]
    assert [evidence["rows"] for evidence in told] == [lost]
    assert "the footer counts" in told[0]["problem"]


@pytest.mark.usefixtures("one_worker")
def test_one_row_that_is_too_large_or_no_text_costs_itself(tmp_path: Path) -> None:
    columns = {name: [f"{name} {n}".encode() for n in range(5)] for name in NAMES}
    columns["caption"][1] = b"x" * 5000
    columns["caption"][3] = b"\xff"
    table = pa.table({name: pa.array(column, pa.binary()) for name, column in columns.items()})
    text = [column.combine_chunks().view(pa.string()) for column in table.columns]
    pq.write_table(pa.table(dict(zip(NAMES, text, strict=True))), tmp_path / "f.parquet")
    found = fates(tmp_path, LAION, max_record_bytes=1000)
    assert [reason for _, reason, _ in found] == [None, "record_too_large", None, "not_utf8", None]


@pytest.mark.usefixtures("one_worker")
def test_a_row_group_that_decodes_to_hundreds_of_times_its_file_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imp_data.records.layouts.parquet_rows._MOST_BYTES", 1 << 20)
    same = pa.table({name: ["the same text"] * 50_000 for name in NAMES})
    with pq.ParquetWriter(tmp_path / "f.parquet", same.schema) as writer:
        writer.write_table(same)
        writer.write_table(same.slice(0, 5))
    found = fates(tmp_path, LAION)
    assert [reason for _, reason, _ in found] == ["rows_lost"] + [None] * 5
    assert found[0][2]["rows"] == 50_000 and "decodes to more than" in found[0][2]["problem"]


@pytest.mark.usefixtures("one_worker")
def test_a_text_of_a_megabyte_that_many_rows_share_is_read_some_rows_at_a_time(
    tmp_path: Path,
) -> None:
    place = pa.array([0] * 40, pa.int32())
    shared = pa.DictionaryArray.from_arrays(place, ["x" * (1 << 20)])
    columns = {"link": ["l"] * 40, "caption": shared, "message_id": [str(n) for n in range(40)]}
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    found = fates(tmp_path, LAION, max_record_bytes=2 << 20)
    assert [reason for _, reason, _ in found] == ["too_long"] * 40
