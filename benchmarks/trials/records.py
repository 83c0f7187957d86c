"""Hostile records: randomly damaged JSON, huge records, inconsistent Parquet files.

Each trial reads or builds a file of few records. It held where every sound record that was not
touched is read, in order, where all rows have a place in the ledger, and where memory stays small.
"""

import json
import random
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.ledger import Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.build import build_records
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans
from trials import Outcome

FIELDS = frozenset({"conversations"})
LIMITS = Limits(max_record_bytes=1 << 20)
DAMAGED_FILES = 2_000
MOST_KIBIBYTES = 1 << 20


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """Run hostile files of each kind, then random damage."""
    for name, write in HOSTILE_JSON.items():
        yield _built(f"JSON: {name}", folder, write, "llava")
    for name, write in HOSTILE_PARQUET.items():
        yield _built(f"Parquet: {name}", folder, write, "laion_gpt4v")
    drawn = random.Random(seed)
    for number in range(DAMAGED_FILES):
        yield _damaged(number, folder / "damaged.json", drawn)


# --- files built as a whole ---------------------------------------------------------------------

Written = tuple[int, list[str]]


def record(number: int, answer: str = "A thing.") -> dict[str, Any]:
    """Return a record in LLaVA's format."""
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": answer}]
    return {"id": f"r{number}", "conversations": turns}


def dumped(number: int, answer: str = "A thing.") -> bytes:
    """Return a record in LLaVA's format as JSON."""
    return json.dumps(record(number, answer)).encode()


def _around(*hostile: bytes) -> bytes:
    """Return an array with ten valid records before and after the hostile part."""
    parts = [dumped(n) for n in range(10)]
    return b"[" + b",\n".join([*parts, *hostile, *map(dumped, range(10, 20))]) + b"]"


def _in_lines(*hostile: bytes) -> bytes:
    parts = [dumped(n) for n in range(10)]
    return b"\n".join([*parts, *hostile, *map(dumped, range(10, 20))])


def _with(value: bytes) -> bytes:
    return b'{"id": "h", "conversations": [], "x": ' + value + b"}"


SIZE = 3 << 20
_HOSTILE: dict[str, bytes] = {
    "a long string": _with(b'"' + b"a" * SIZE + b'"'),
    "a string without end": _with(b'"' + b"a" * SIZE)[:-1],
    "backslashes": _with(b'"' + b"\\" * SIZE + b'"'),
    "quotes": b'"' * SIZE,
    "open brackets": _with(b"[" * SIZE),
    "brackets that close": _with(b"[" * SIZE + b"]" * SIZE),
    "closing brackets": b"]" * SIZE,
    "openings of records": b'{"id": ' * (SIZE // 16),
    "openings in lists": b'{"id": [' * (SIZE // 16),
    "many keys": _with(b"{" + b",".join(b'"k%d": 1' % n for n in range(300_000)) + b"}"),
    "empty objects": _with(b"[" + b'{"":{}},' * (SIZE // 8) + b"0]"),
    "commas": b"," * SIZE,
    "white space": b" " * SIZE + dumped(77),
    "zero bytes": b"\0" * SIZE + dumped(77),
    "a long integer": _with(b"7" * SIZE),
    "5,000 digits": _with(b"7" * 5_000),
    "1e999": _with(b"1e999"),
    "NaN": _with(b"NaN"),
    "a lone surrogate": _with(b'"\\ud800"'),
    "no UTF-8": _with(b'"\xff\xfe"'),
    "a byte order mark": b"\xef\xbb\xbf" + dumped(77),
    "byte order marks": b"\xef\xbb\xbf\0" * (SIZE // 64),
    "1,000 deep": _with(b"[" * 1000 + b"]" * 1000),
    "980 deep": _with(b"[" * 980 + b"]" * 980),
    "an id 980 deep": b'{"id": ' + b"[" * 980 + b"]" * 980 + b', "conversations": []}',
    "nothing but a number": b"7",
    "an empty object": b"{}",
    "garbage": b"garbage",
    "an extra bracket": dumped(77) + b"]",
    "two records side by side": dumped(77) + dumped(78),
    "a key twice": b'{"id": 1, "id": 2, "conversations": [], "conversations": [1]}',
    "half a record": dumped(77)[:40],
}


def _json_writer(data: bytes) -> Callable[[Path], Written]:
    def write(folder: Path) -> Written:
        (folder / "records").write_bytes(data)
        return 20, [f"r{n}" for n in range(20)]

    return write


HOSTILE_JSON: dict[str, Callable[[Path], Written]] = {
    **{f"{name}, in an array": _json_writer(_around(e)) for name, e in _HOSTILE.items()},
    **{f"{name}, in lines": _json_writer(_in_lines(e)) for name, e in _HOSTILE.items()},
    "garbage after the array": _json_writer(_around() + b"\ngarbage"),
    "HTML after the array": _json_writer(_around() + b"<html><p>Gone</p>"),
    "two arrays joined": _json_writer(_around().replace(b"},\n", b"}][", 1)),
    "two arrays a line apart": _json_writer(_around().replace(b"},\n", b"}]\n[", 1)),
    "lines after an array": _json_writer(_around().replace(b"},\n", b"}]\n", 1)),
    "zero bytes for the end": _json_writer(_around()[:-1] + bytes(SIZE)),
    "a line without end": _json_writer(_in_lines() + b"\n" + dumped(77)[:-40] + b"a" * SIZE),
}


def _rows(count: int) -> pa.Table:
    names = ("link", "caption", "message_id")
    return pa.table({name: [f"{name} {n}" for n in range(count)] for name in names})


def _captions(folder: Path, damage: Callable[[bytes], bytes], lost: range) -> Written:
    """Row groups of 100 rows, of which the rows `lost` cannot be had."""
    out = folder / "records"
    pq.write_table(_rows(500), out, row_group_size=100, write_page_checksum=True)
    out.write_bytes(damage(out.read_bytes()))
    kept = [f"message_id {n}" for n in range(500) if n not in lost]
    return len(kept), kept


def _flipped(group: int, column: int, at: float) -> Callable[[bytes], bytes]:
    """A byte of a column chunk is another."""

    def damage(data: bytes) -> bytes:
        chunk = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(group).column(column)
        begin = chunk.dictionary_page_offset or chunk.data_page_offset
        place = begin + int(chunk.total_compressed_size * at)
        return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]

    return damage


def _varint(number: int) -> bytes:
    number, out = 2 * number, b""  # zigzag
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _restated(count: int, by: int, which: int) -> Callable[[bytes], bytes]:
    """The footer says another number where one of its 64-bit fields says `count`."""

    def damage(data: bytes) -> bytes:
        size = int.from_bytes(data[-8:-4], "little")
        footer, field = data[-8 - size : -8], b"\x16" + _varint(count)
        places = [found.start() for found in re.finditer(re.escape(field), footer)]
        place = places[which]
        footer = footer[:place] + b"\x16" + _varint(by) + footer[place + len(field) :]
        return data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1"

    return damage


HOSTILE_PARQUET: dict[str, Callable[[Path], Written]] = {
    **{
        f"a byte of row group {group}, column {column}, at {at}": (
            lambda folder, g=group, c=column, a=at: _captions(
                folder, _flipped(g, c, a), range(100 * g, 100 * g + 100)
            )
        )
        for group in (0, 2, 4)
        for column in (0, 1, 2)
        for at in (0.05, 0.4, 0.6)
    },
    "a footer that counts 10^12 rows in all": lambda folder: _captions(
        folder, _restated(500, 10**12, 0), range(0)
    ),
    "a footer that counts no rows in all": lambda folder: _captions(
        folder, _restated(500, 0, 0), range(0)
    ),
    "a row group that counts 10^12 rows": lambda folder: _captions(
        folder, _restated(100, 10**12, 3), range(0)
    ),
    "a row group that counts 99 rows": lambda folder: _captions(
        folder, _restated(100, 99, 3), range(99, 100)
    ),
}


def _built(name: str, folder: Path, write: Callable[[Path], Written], layout: str) -> Outcome:
    """Whether a build of the file keeps what is sound and accounts for all."""
    _, wanted = write(folder)
    source = Source(
        name="some",
        title="Some",
        homepage="https://example.org",
        license="MIT",
        layout=layout,
        records=("records",),
        prompts=("What is shown?",),
    )
    out, ledger = folder / "some.arrow", folder / "some.parquet"
    try:
        with redirect_stderr(StringIO()):
            figures = build_records(source, folder, LIMITS, out, ledger)
    except UserError as error:
        return Outcome(name, f"an error for the whole source: {error.problem}")
    rows = pq.read_table(ledger).to_pylist()
    if [row["ordinal"] for row in rows] != [*range(figures["rows"])]:
        return Outcome(name, "the ledger's places are not 0, 1, 2 …")
    kept = [row["upstream_id"] for row in rows if row["reason"] is None]
    strangers = [identity for identity in kept if identity not in wanted]
    missing = [identity for identity in wanted if identity not in kept]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if missing:
        return Outcome(name, f"{len(missing)} sound records are lost, such as {missing[0]}")
    if len(strangers) > 2:
        return Outcome(name, f"{len(strangers)} records came from nowhere, such as {strangers[0]}")
    if peak > MOST_KIBIBYTES:
        return Outcome(name, f"a process took {peak >> 10} MiB")
    return Outcome(name)


# --- damage at random ---------------------------------------------------------------------------


def _by_id(parts: list[bytes]) -> bytes:
    return b"{" + b",\n".join(b'"k%d": ' % n + part for n, part in enumerate(parts)) + b"}"


FORMS: dict[str, Callable[[list[bytes]], bytes]] = {
    "array": lambda parts: b"[" + b", ".join(parts) + b"]",
    "array over lines": lambda parts: b"[\n" + b",\n".join(parts) + b"\n]\n",
    "lines": lambda parts: b"\n".join(parts) + b"\n",
    "lines of Windows": lambda parts: b"\r\n".join(parts) + b"\r\n",
    "side by side": b"".join,
    "side by side with commas": b", ".join,
    "in data": lambda parts: b'{"data": [' + b", ".join(parts) + b"]}",
    "by id": _by_id,
    "by id in an object": lambda parts: b'{"all": ' + _by_id(parts) + b"}\n",
    "two arrays": lambda parts: (
        b"[" + b", ".join(parts[:3]) + b"]\n[" + b", ".join(parts[3:]) + b"]"
    ),
    "an array, then lines": lambda p: b"[" + b",".join(p[:3]) + b"]\n" + b"\n".join(p[3:]),
}
_INSERTED = [b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"\n", b"garbage", b"][", b'"}', b'{"']


def _damaged(number: int, file: Path, drawn: random.Random) -> Outcome:
    """Whether damage at a random place leaves all records that it did not touch, in order."""
    form = drawn.choice(sorted(FORMS))
    records = [record(n, drawn.choice(["Yes.", 'A "[b]", {c}\n', "ü \\"])) for n in range(8)]
    parts = [json.dumps(one, ensure_ascii=drawn.random() < 0.5).encode() for one in records]
    data = FORMS[form](parts)
    begins = [data.index(part) for part in parts]
    if form.startswith("by id"):
        begins = [data.rindex(b'"k', 0, begin) for begin in begins]
    ends = [data.index(part) + len(part) for part in parts]
    # What stands before the first record says what form a file has: it is not damaged here.
    kind, first, last, made = _damage(data, begins[0], drawn)
    touched = {
        n
        for n, (begin, end) in enumerate(zip(begins, ends, strict=True))
        if (first < end and last > begin) or begin < first == last < end
    }
    wanted = [one for n, one in enumerate(records) if n not in touched]
    file.write_bytes(made)
    name = f"damage {number}: {kind} at {first} of {len(data)}, {form}"
    try:
        found = [
            parse(made[start:end])
            for spans in json_spans(file, window=drawn.choice([333, 1 << 20]), fields=FIELDS)
            for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)
        ]
    except UserError as error:
        return Outcome(name, f"an error for the whole file: {error.problem}")
    values = [one[0] for one in found if not isinstance(one, Verdict)]
    if [value for value in values if value in wanted] != wanted and kind != "twice":
        return Outcome(name, "a record that was not touched is lost")
    if len(found) < len(wanted):
        return Outcome(name, f"{len(found)} rows for {len(wanted)} records")
    return Outcome(name)


def _damage(data: bytes, begin: int, drawn: random.Random) -> tuple[str, int, int, bytes]:
    """What was done, from where to where, and what became of the bytes."""
    kind = drawn.choice(["cut", "flip", "insert", "twice", "zeros"])
    at = drawn.randrange(begin, len(data))
    last = min(at + drawn.choice([1, 1, 2, 3, 8, 30]), len(data))
    match kind:
        case "cut":
            return kind, at, last, data[:at] + data[last:]
        case "flip":
            flipped = bytes([data[at] ^ (1 << drawn.randrange(8))])
            return kind, at, at + 1, data[:at] + flipped + data[at + 1 :]
        case "insert":
            return kind, at, at, data[:at] + drawn.choice(_INSERTED) + data[at:]
        case "twice":
            return kind, at, last, data[:last] + data[at:]
        case _:
            return kind, at, last, data[:at] + bytes(last - at) + data[last:]
