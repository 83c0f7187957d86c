"""Records with images in their own file: Parquet, Arrow, tars of WebDataset, and JSON text."""

import base64
import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PUBLISHED, World, encoded, photo, run

from imp_data.errors import UserError
from imp_data.mixture.arrow_dataset import mixture_batches

IMAGES = [encoded(photo(n)) for n in range(6)]
CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def chat(text: str) -> list[dict[str, str]]:
    """Return messages with one question and one answer."""
    return [
        {"role": "user", "content": f"What is {text}?"},
        {"role": "assistant", "content": f"It is {text}."},
    ]


def table(images: Sequence[bytes | None], kind: str = "struct") -> pa.Table:
    """Return a table of records in the form `messages`, each with one image or none."""
    ids = [f"r{n}" for n in range(len(images))]
    messages = [chat(f"number {n}") for n in range(len(images))]
    cells: pa.Array
    match kind:
        case "struct":
            cells = pa.array(
                [None if i is None else {"bytes": i, "path": None} for i in images], CELL
            )
        case "list":
            cells = pa.array(
                [[{"bytes": i, "path": "x.png"}] if i else [] for i in images], pa.list_(CELL)
            )
        case "bytes":
            cells = pa.array(images, pa.binary())
        case "base64":
            cells = pa.array([i and base64.b64encode(i).decode() for i in images])
        case _:
            cells = pa.array(
                [i and "data:image/png;base64," + base64.b64encode(i).decode() for i in images]
            )
    name = "images" if kind == "list" else "image"
    return pa.table({"id": ids, "messages": messages, name: cells})


def source(world: World, name: str, file: str, content: bytes, **fields: Any) -> None:
    """Add a source whose records and images are one file."""
    world.file(name, file, content)
    stated = {"layout": "messages", "records": [file], "files": [{"path": file, "by_hand": "-"}]}
    world.manifest("sources", name, **{**PUBLISHED, **stated, **fields})


def parquet(rows: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(rows, out, **options)
    return out.getvalue()


def arrow(rows: pa.Table, new: Callable[..., Any] = pa.ipc.new_file, size: int = 2) -> bytes:
    out = io.BytesIO()
    with new(out, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=size)
    return out.getvalue()


def lines(rows: pa.Table) -> bytes:
    return b"\n".join(orjson.dumps(row) for row in rows.to_pylist())


FILES = {
    "the Image feature in Parquet": ("a.parquet", parquet(table(IMAGES), row_group_size=2)),
    "lists of images in Parquet": ("a.parquet", parquet(table(IMAGES, "list"), row_group_size=4)),
    "plain bytes in Parquet": ("a.parquet", parquet(table(IMAGES, "bytes"))),
    "base64 in Parquet": ("a.parquet", parquet(table(IMAGES, "base64"))),
    "an Arrow file": ("a.arrow", arrow(table(IMAGES))),
    "an Arrow stream": ("a.arrow", arrow(table(IMAGES), pa.ipc.new_stream)),
    "lists of images in an Arrow stream": ("a.arrow", arrow(table(IMAGES, "list"))),
    "base64 in JSON Lines": ("a.jsonl", lines(table(IMAGES, "base64"))),
    "data URIs in JSON Lines": ("a.jsonl", lines(table(IMAGES, "uri"))),
}


def samples(world: World, **quotas: int) -> list[dict[str, Any]]:
    """Build a mixture; return its samples in the order of their upstream ids."""
    run(world.build(quotas))
    rows = [row for b in mixture_batches(world.data.mixture("small")) for row in b.to_pylist()]
    return sorted(rows, key=lambda row: row["upstream_id"])


def ledger(world: World) -> list[dict[str, Any]]:
    return pl.read_parquet(world.data.mixture("small") / "ledger.parquet").to_dicts()


@pytest.mark.parametrize("kind", FILES)
def test_every_image_is_read_where_it_stands(kind: str, world: World) -> None:
    file, content = FILES[kind]
    source(world, "hub", file, content)
    rows = samples(world, hub=6)
    assert [row["upstream_id"] for row in rows] == [f"r{n}" for n in range(6)]
    assert [row["image_sha256"] for row in rows] == [sha256(data) for data in IMAGES]
    assert rows[4]["conversations"] == [
        {"from": "human", "value": "<image>\nWhat is number 4?"},
        {"from": "gpt", "value": "It is number 4."},
    ]
    assert rows[4]["image"].startswith(f"hub/{file}/@")


def test_an_image_is_named_by_its_column_and_row(world: World) -> None:
    source(world, "hub", "a.parquet", parquet(table(IMAGES), row_group_size=2))
    assert [row["image"] for row in samples(world, hub=6)] == [
        f"hub/a.parquet/@image/{n}" for n in range(6)
    ]


def test_a_file_that_datasets_writes_is_read(world: World, tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list(table(IMAGES[:3]).to_pylist())
    rows = rows.cast_column("image", datasets.Image())
    rows.to_parquet(tmp_path / "hub.parquet")
    rows.save_to_disk(tmp_path / "saved")
    [shard] = (tmp_path / "saved").glob("data-*.arrow")
    source(world, "parquet", "a.parquet", (tmp_path / "hub.parquet").read_bytes())
    source(world, "saved", shard.name, shard.read_bytes())
    found = samples(world, parquet=3, saved=3)
    assert sorted(row["image_sha256"] for row in found) == sorted(map(sha256, IMAGES[:3] * 2))


def test_a_null_image_is_text_alone(world: World) -> None:
    source(world, "hub", "a.parquet", parquet(table([IMAGES[0], None])))
    assert [row["image"] for row in samples(world, hub=2)] == ["hub/a.parquet/@image/0", None]


@pytest.mark.parametrize("write", [parquet, arrow])
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list])
def test_a_null_in_a_list_of_images_is_named(
    write: Callable[[pa.Table], bytes], lists: Callable[..., Any], world: World
) -> None:
    first, second = ({"bytes": data, "path": None} for data in IMAGES[:2])
    cells = pa.array([None, [first, None], [second]], lists(CELL))
    rows = table(IMAGES[:3], "list").set_column(2, "images", cells)
    source(world, "hub", "a", write(rows), max_images=2)
    found = [(row["upstream_id"], len(row["images"])) for row in samples(world, hub=3)]
    assert found == [("r0", 0), ("r2", 1)]
    [dropped] = [row for row in ledger(world) if row["outcome"] == "dropped"]
    assert dropped["reason"] == "wrong_type"
    assert json.loads(dropped["evidence"])["field"] == "images.1"


def test_cells_of_paths_alone_are_images_in_files(world: World) -> None:
    cells = pa.array([{"bytes": None, "path": f"{n}.png"} for n in range(2)], CELL)
    rows = table(IMAGES[:2]).set_column(2, "image", cells)
    source(world, "hub", "a.parquet", parquet(rows), image_prefix="photos/", images=["photos"])
    world.images("photos", {f"{n}.png": IMAGES[n] for n in range(2)})
    assert [row["image"] for row in samples(world, hub=2)] == ["photos/0.png", "photos/1.png"]


def test_a_broken_image_costs_its_record_alone(world: World) -> None:
    broken = table([IMAGES[0], b"no image", IMAGES[2][:-99], b""])
    source(world, "hub", "a.parquet", parquet(broken))
    assert [row["upstream_id"] for row in samples(world, hub=4)] == ["r0"]
    assert [row["reason"] for row in ledger(world)] == [
        *(None, "image_undecodable", "image_truncated", "image_empty")
    ]


def test_a_damaged_page_of_images_costs_the_images_in_it(world: World) -> None:
    content = bytearray(parquet(table(IMAGES), row_group_size=3, write_page_checksum=True))
    chunk = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(1).column(3)
    assert chunk.path_in_schema == "image.bytes"
    content[chunk.dictionary_page_offset + 60] ^= 0xFF
    source(world, "hub", "a.parquet", bytes(content))
    assert [row["upstream_id"] for row in samples(world, hub=6)] == ["r0", "r1", "r2"]
    assert {row["reason"] for row in ledger(world)} == {None, "image_undecodable"}


def test_lists_of_plain_bytes_are_refused_by_name(world: World) -> None:
    cells = pa.array([[IMAGES[0]]], pa.list_(pa.binary()))
    rows = pa.table({"messages": [chat("it")], "images": cells})
    source(world, "hub", "a.parquet", parquet(rows))
    with pytest.raises(UserError, match="column images holds lists of plain bytes"):
        samples(world, hub=1)


def tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


CAPTIONS = {"layout": "captions", "prompts": ["What is shown?"]}


def test_the_members_of_a_tar_with_one_key_are_one_record(world: World) -> None:
    members = {
        "b/2.jpg": encoded(photo(2), "JPEG"),
        "b/2.txt": b"A second thing.",
        "a.png": IMAGES[0],
        "a.json": json.dumps({"caption": "A thing.", "status": "success", "width": 96}).encode(),
    }
    source(world, "web", "00000.tar", tar(members), **CAPTIONS)
    rows = samples(world, web=2)
    assert [(row["upstream_id"], row["image"]) for row in rows] == [
        ("a", "web/00000.tar/@/a.png"),
        ("b/2", "web/00000.tar/@/b/2.jpg"),
    ]
    assert [row["conversations"][1]["value"] for row in rows] == ["A thing.", "A second thing."]


def test_downloads_that_failed_are_records_without_an_image(world: World) -> None:
    world.file(
        "web",
        "00000.parquet",
        parquet(
            pa.table(
                {
                    "key": ["1", "0"],
                    "status": ["failed_to_download", "success"],
                    "error_message": ["HTTP Error 404: Not Found", None],
                }
            )
        ),
    )
    source(world, "web", "00000.tar", tar({"0.png": IMAGES[0], "0.txt": b"A thing."}), **CAPTIONS)
    assert [row["upstream_id"] for row in samples(world, web=2)] == ["0"]
    [lost] = [row for row in ledger(world) if row["outcome"] == "dropped"]
    assert (lost["upstream_id"], lost["reason"]) == ("1", "download_failed")
    assert orjson.loads(lost["evidence"]) == {
        "status": "failed_to_download",
        "problem": "HTTP Error 404: Not Found",
    }


def damaged(number: int) -> Any:
    """Return the messages of record `number`, of which three in ten are damaged."""
    messages = chat(f"number {number}")
    match number % 10:
        case 3:
            return None
        case 5:
            return [*messages[:1], {**messages[1], "content": " "}]
        case 7:
            return messages[::-1]
    return messages


def thousand(kind: str) -> bytes:
    """Return a file of a thousand records, text alone, as `damaged` makes them."""
    rows = pa.table({"id": [f"r{n}" for n in range(1000)], "messages": map(damaged, range(1000))})
    match kind:
        case "parquet":
            return parquet(rows, row_group_size=300)
        case "arrow":
            return arrow(rows, size=300)
        case "jsonl":
            return lines(rows)
    return tar({f"r{row['id'][1:]:0>4}.json": orjson.dumps(row) for row in rows.to_pylist()})


@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl", "tar"])
def test_a_thousand_records_end_in_a_thousand_rows_and_damage_costs_itself(
    kind: str, world: World
) -> None:
    source(world, "hub", f"a.{kind}", thousand(kind))
    kept = {row["upstream_id"] for row in samples(world, hub=1000)}
    assert kept == {f"r{n}" for n in range(1000) if n % 10 not in (3, 5, 7)}
    rows = ledger(world)
    assert [row["upstream_id"] for row in rows] == [f"r{n}" for n in range(1000)]
    assert Counter(row["reason"] for row in rows if row["reason"]) == {
        "wrong_type": 100,
        "empty_value": 100,
        "unanswered": 100,
    }
