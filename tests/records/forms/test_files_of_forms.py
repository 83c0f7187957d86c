"""Each form in each kind of file: a thousand records with planted damage, and any shapes."""

import base64
import io
import json
import random
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PUBLISHED, encoded, photo
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.images.reader import ImageReader
from imp_data.ledger import Reason
from imp_data.manifests import Limits, Source
from imp_data.records.all_layouts import LAYOUTS
from imp_data.records.build import build_records
from imp_data.records.forms import FORMS
from imp_data.sample import Draft, RejectedRecord
from imp_data.storage.arrow_batches import open_batches

COUNT = 1_000
PIXELS = encoded(photo(0, (8, 8)))
CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
KINDS = ("parquet", "arrow", "jsonl", "tar")
Record = dict[str, Any]


class Damage(NamedTuple):
    """A change that leaves every field its type, and the reason that it leads to."""

    change: Callable[[Record], Any]
    reason: Reason


def conversations(number: int) -> Record:
    asked = {"from": "human", "value": f"<image>\nHow many owls are in {number}?"}
    return {"conversations": [asked, {"from": "gpt", "value": f"{number} owls."}]}


def messages(number: int) -> Record:
    asked = {"role": "user", "content": f"How many owls are in {number}?"}
    return {"messages": [asked, {"role": "assistant", "content": f"{number} owls."}]}


def texts(number: int) -> Record:
    said = {"user": f"How many owls are in {number}?", "assistant": f"{number} owls."}
    return {"texts": [said], "relevance_ratings": [5]}


def questions(number: int) -> Record:
    return {"question": f"How many owls are in {number}?", "answers": [f"{number} owls."]}


def captions(number: int) -> Record:
    return {"caption": f"{number} owls."}


def put(*path: Any) -> Callable[[Record], Any]:
    """Return a function that replaces the value at a path; the last of `path` is the new value."""
    *steps, last, value = path

    def change(record: Record) -> None:
        inner: Any = record
        for step in steps:
            inner = inner[step]
        inner[last] = value

    return change


WRONG, NO_TURNS, EMPTY = Reason.WRONG_TYPE, Reason.NO_TURNS, Reason.EMPTY_VALUE
FORMS_AND_DAMAGE: dict[str, tuple[Callable[[int], Record], list[Damage]]] = {
    "conversations": (
        conversations,
        [
            Damage(put("conversations", None), WRONG),
            Damage(put("conversations", []), NO_TURNS),
            Damage(put("conversations", 0, "value", None), WRONG),
            Damage(put("conversations", 1, "value", " "), EMPTY),
            Damage(put("conversations", 0, "from", "owl"), Reason.WRONG_ROLES),
        ],
    ),
    "messages": (
        messages,
        [
            Damage(put("messages", None), WRONG),
            Damage(put("messages", []), NO_TURNS),
            Damage(put("messages", 1, "content", None), WRONG),
            Damage(put("messages", 0, "role", "assistant"), Reason.WRONG_ROLES),
            Damage(put("messages", 1, "role", "user"), Reason.WRONG_ROLES),
        ],
    ),
    "texts": (
        texts,
        [
            Damage(put("texts", None), WRONG),
            Damage(put("texts", []), NO_TURNS),
            Damage(put("texts", 0, "user", None), WRONG),
            Damage(put("texts", 0, "assistant", ""), EMPTY),
        ],
    ),
    "questions": (
        questions,
        [
            Damage(put("question", None), WRONG),
            Damage(put("question", " "), EMPTY),
            Damage(put("answers", []), EMPTY),
            Damage(put("answers", [None]), WRONG),
        ],
    ),
    "captions": (
        captions,
        [
            Damage(put("caption", None), WRONG),
            Damage(put("caption", "\n"), EMPTY),
            Damage(put("image", None), Reason.IMAGE_MISSING),
        ],
    ),
}


def in_table(records: list[Record]) -> pa.Table:
    columns = {name: [record[name] for record in records] for name in records[0]}
    cells = [None if data is None else {"bytes": data, "path": None} for data in columns["image"]]
    return pa.table({**columns, "image": pa.array(cells, CELL)})


def in_parquet(records: list[Record]) -> bytes:
    out = io.BytesIO()
    pq.write_table(in_table(records), out, row_group_size=300)
    return out.getvalue()


def in_arrow(records: list[Record]) -> bytes:
    out = io.BytesIO()
    table = in_table(records)
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    return out.getvalue()


def in_lines(records: list[Record]) -> bytes:
    def text(data: bytes | None) -> str | None:
        return None if data is None else base64.b64encode(data).decode()

    return b"\n".join(json.dumps({**r, "image": text(r["image"])}).encode() for r in records)


def in_tar(records: list[Record]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, record in enumerate(records):
            fields = {name: value for name, value in record.items() if name != "image"}
            members = {"json": json.dumps(fields).encode(), "png": record["image"]}
            for ending, data in members.items():
                if data is not None:
                    info = tarfile.TarInfo(f"{number:04}.{ending}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


WRITERS = dict(zip(KINDS, (in_parquet, in_arrow, in_lines, in_tar), strict=True))


def source_of(form: str, file: str, **fields: Any) -> Source:
    stated = {"name": "hub", "layout": form, "records": [file], **PUBLISHED}
    return Source.model_validate({**stated, **fields})


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_planted_damage_costs_its_record_alone_in_any_file(
    form: str, kind: str, tmp_path: Path
) -> None:
    make, kinds = FORMS_AND_DAMAGE[form]
    generator = random.Random(form)
    planted = {n: generator.choice(kinds) for n in range(COUNT) if generator.random() < 0.2}
    records = [{"id": f"r{n}", **make(n), "image": PIXELS} for n in range(COUNT)]
    for number, damage in planted.items():
        damage.change(records[number])
    (tmp_path / f"a.{kind}").write_bytes(WRITERS[kind](records))
    samples, ledger = tmp_path / "samples.arrow", tmp_path / "ledger.parquet"
    build_records(source_of(form, f"a.{kind}"), tmp_path, Limits(), samples, ledger)
    rows = pl.read_parquet(ledger)
    assert rows["upstream_id"].to_list() == [f"r{n}" for n in range(COUNT)]
    assert rows["ordinal"].to_list() == list(range(COUNT))
    assert {n: why for n, why in enumerate(rows["reason"]) if why} == {
        n: damage.reason for n, damage in planted.items()
    }
    assert len(planted) > 150 and len({damage.reason for damage in planted.values()}) > 1
    asked = "Describe the image." if form == "captions" else "How many owls are in {}?"
    kept = [row for batch in open_batches(samples).batches for row in batch.to_pylist()]
    assert [(row["upstream_id"], row["conversations"]) for row in kept] == [
        (
            f"r{n}",
            [
                {"from": "human", "value": f"<image>\n{asked.format(n)}"},
                {"from": "gpt", "value": f"{n} owls."},
            ],
        )
        for n in range(COUNT)
        if n not in planted
    ]
    assert len({row["image"] for row in kept}) == len(kept)
    assert all(row["image"].startswith(f"hub/a.{kind}/@") for row in kept)


RAW_DAMAGE: dict[bytes, str] = {
    b'{"id": "x", "caption": "cut': "truncated",
    b'{"id": "x", "caption": "\xff"}': "not_utf8",
    b"[1, 2]": "wrong_type",
    b'{"id": "x", "caption": NaN}': "not_json",
}


@pytest.mark.usefixtures("one_worker")
def test_damaged_text_of_a_member_costs_its_record_alone(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(COUNT):
            sound = json.dumps({"caption": f"{number} owls."}).encode()
            data = [*RAW_DAMAGE][number // 10 % 4] if number % 10 == 3 else sound
            for ending, content in (("json", data), ("png", PIXELS)):
                info = tarfile.TarInfo(f"{number:04}.{ending}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    (tmp_path / "a.tar").write_bytes(out.getvalue())
    samples, ledger = tmp_path / "samples.arrow", tmp_path / "ledger.parquet"
    build_records(source_of("captions", "a.tar"), tmp_path, Limits(), samples, ledger)
    rows = pl.read_parquet(ledger)
    assert rows["upstream_id"].to_list() == [f"{n:04}" for n in range(COUNT)]
    assert rows["reason"].to_list() == [
        [*RAW_DAMAGE.values()][n // 10 % 4] if n % 10 == 3 else None for n in range(COUNT)
    ]


# Any shapes

STYLES = ("base64", "uri", "column")
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
drawn_images = st.integers(0, 5).map(lambda seed: encoded(photo(seed, (8, 8))))
drawn_parts = st.lists(words | drawn_images, min_size=1, max_size=4)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[str, list[list[str | bytes]]]:
    """Draw how a record states its images, and the parts of each of its messages."""
    style = draw(st.sampled_from(STYLES))
    return style, draw(st.lists(drawn_parts, min_size=1, max_size=3))


def message_part(part: str | bytes, style: str) -> Record:
    """Return a part with the same fields for all, as a table needs them."""
    found: Record = {"type": "text", "text": None, "image": None, "image_url": None}
    if isinstance(part, str):
        return {**found, "text": part}
    text = base64.b64encode(part).decode()
    match style:
        case "base64":
            return {**found, "type": "image", "image": text}
        case "uri":
            uri = {"url": f"data:image/png;base64,{text}"}
            return {**found, "type": "image_url", "image_url": uri}
    return {**found, "type": "image"}


def shaped(number: int, style: str, turns: list[list[str | bytes]]) -> Record:
    spoken = [
        {"role": ("user", "assistant")[n % 2], "content": [message_part(p, style) for p in parts]}
        for n, parts in enumerate(turns)
    ]
    shown = [part for parts in turns for part in parts if isinstance(part, bytes)]
    return {"id": f"r{number}", "messages": spoken, "images": shown if style == "column" else []}


def write_shaped(records: list[Record], kind: str, file: Path) -> None:
    if kind == "jsonl":

        def listed(record: Record) -> Record:
            return {**record, "images": [base64.b64encode(i).decode() for i in record["images"]]}

        file.write_bytes(b"\n".join(json.dumps(listed(r)).encode() for r in records))
        return
    cells = [[{"bytes": i, "path": None} for i in record["images"]] for record in records]
    columns = {name: [record[name] for record in records] for name in ("id", "messages")}
    table = pa.table({**columns, "images": pa.array(cells, pa.list_(CELL))})
    if kind == "parquet":
        pq.write_table(table, file, row_group_size=2)
        return
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def read_drafts(folder: Path, source: Source) -> Iterator[Draft | RejectedRecord]:
    layout = LAYOUTS["messages"]
    for chunk in layout.chunks(folder, source, Limits()):
        for rows in layout.groups(chunk, source):
            yield from layout.assemble(rows, source)


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl"])
@settings(max_examples=25)
@given(records=st.lists(shapes(), min_size=1, max_size=4))
def test_any_parts_and_images_come_back_from_any_file(
    kind: str, records: list[tuple[str, list[list[str | bytes]]]]
) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "hub"
        folder.mkdir()
        rows = [shaped(number, *shape) for number, shape in enumerate(records)]
        write_shaped(rows, kind, folder / f"a.{kind}")
        found = list(read_drafts(folder, source_of("messages", f"a.{kind}", max_images=99)))
        reader = ImageReader(Path(root) / "none", Path(root), ())
        assert len(found) == len(records)
        for draft, (_, turns) in zip(found, records, strict=True):
            assert isinstance(draft, Draft)
            parts = [part for some in turns for part in some]
            shown = [part for part in parts if isinstance(part, bytes)]
            assert [reader.read(image, 1 << 20) for image in draft.images] == shown
            said = "\n".join(text for _, text in draft.turns)
            assert said.count("<image>") == len(shown)
            assert said.replace("<image>", " ").split() == [p for p in parts if isinstance(p, str)]
