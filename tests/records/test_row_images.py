"""Image columns of row numbers into other Parquet files, as lightonai/FineVision_text has them."""

from typing import Any

import orjson
import pyarrow as pa
import pytest
from conftest import PUBLISHED, World, encoded, photo

from imp_data.errors import UserError
from imp_data.manifests.sources import ImageRows
from imp_data.records.tables.row_images import name_row_images
from tests.records.test_record_files import (
    CELL,
    arrow,
    chat,
    ledger,
    lines,
    parquet,
    samples,
    sha256,
    source,
)

IMAGES = [encoded(photo(n)) for n in range(6)]


def shots(world: World, *files: str, column: str = "image") -> None:
    """Add a collection of image files of three rows each, in row groups of two."""
    for number, file in enumerate(files):
        some = IMAGES[3 * number :][:3]
        table = pa.table({column: pa.array([{"bytes": i, "path": None} for i in some], CELL)})
        world.file("shots", file, parquet(table, row_group_size=2))
    listed = [{"path": file, "by_hand": "-"} for file in files]
    inside = files[0].rpartition("/")[0]
    folders = [{"path": "shots", "inside": inside}]
    world.manifest("images", "shots", **PUBLISHED, files=listed, folders=folders)


def rows(numbers: list[Any], kind: Any = None) -> pa.Table:
    cells = pa.array(numbers, kind)
    chats = [chat(f"number {n}") for n in range(len(numbers))]
    return pa.table(
        {"id": [f"r{n}" for n in range(len(numbers))], "messages": chats, "images": cells}
    )


STATED: dict[str, Any] = {
    "images": ["shots"],
    "max_images": 2,
    "image_rows": {"collection": "shots", "files": "data/*.parquet"},
}
WRITERS = {"parquet": parquet, "arrow": arrow, "jsonl": lines}


@pytest.mark.parametrize("kind", WRITERS)
def test_lists_of_rows_count_through_all_files_in_order(kind: str, world: World) -> None:
    shots(world, "data/0.parquet", "data/1.parquet")
    table = rows([[5], [0, 3], [], None, [2, 2]])
    source(world, "texts", f"a.{kind}", WRITERS[kind](table), **STATED)
    found = samples(world, texts=5)
    assert [row["image_sha256"] for row in found] == [
        [sha256(IMAGES[n]) for n in some] for some in ([5], [0, 3], [], [], [2, 2])
    ]
    assert found[0]["images"] == ["shots/data/*.parquet/@image/5"]


@pytest.mark.parametrize(
    ("numbers", "kind"), [([4, 1, None], pa.int64()), ([4.0, 1.0, float("nan")], pa.float64())]
)
def test_a_single_number_is_an_image_and_null_is_none(
    numbers: list[Any], kind: pa.DataType, world: World
) -> None:
    shots(world, "data/0.parquet", "data/1.parquet")
    source(world, "texts", "a.parquet", parquet(rows(numbers, kind)), **STATED)
    assert [row["image_sha256"] for row in samples(world, texts=3)] == [
        [sha256(IMAGES[4])],
        [sha256(IMAGES[1])],
        [],
    ]


def test_rows_out_of_range_below_0_and_null_have_reasons(world: World) -> None:
    shots(world, "data/0.parquet", "data/1.parquet")
    table = rows([[5], [6], [-1], [1, None], [2**62]])
    source(world, "texts", "a.parquet", parquet(table), **STATED)
    assert [row["upstream_id"] for row in samples(world, texts=5)] == ["r0"]
    lost = {row["upstream_id"]: row for row in ledger(world) if row["outcome"] == "dropped"}
    assert {name: row["reason"] for name, row in lost.items()} == {
        "r1": "image_missing",
        "r2": "wrong_type",
        "r3": "wrong_type",
        "r4": "image_missing",
    }
    evidence = {name: orjson.loads(row["evidence"]) for name, row in lost.items()}
    assert evidence["r1"]["problem"] == "2 files match shots/data/*.parquet, and have 6 rows"
    assert evidence["r2"]["field"] == "images.0"
    assert evidence["r2"]["problem"] == "is a number below 0: rows of image files count from 0"
    assert evidence["r3"]["problem"] == "is an image that is null"


def test_a_number_without_image_rows_names_the_setting(world: World) -> None:
    source(world, "texts", "a.parquet", parquet(rows([[5], []])))
    samples(world, texts=2)
    [lost] = [row for row in ledger(world) if row["outcome"] == "dropped"]
    assert "image_rows" in orjson.loads(lost["evidence"])["problem"]


def test_files_may_stand_in_the_folder_of_the_records_name(world: World) -> None:
    shots(world, "plots/0.parquet", "plots/1.parquet", column="picture")
    stated = {**STATED, "image_rows": {"collection": "shots", "files": "{folder}/?.parquet"}}
    stated["image_rows"]["column"] = "picture"
    source(world, "texts", "plots/a.parquet", parquet(rows([[4]])), **stated)
    assert [row["images"] for row in samples(world, texts=1)] == [
        ["shots/plots/?.parquet/@picture/4"]
    ]


def test_the_files_may_be_the_sources_own(world: World) -> None:
    table = pa.table({"image": pa.array([{"bytes": i, "path": None} for i in IMAGES], CELL)})
    world.file("texts", "shown.parquet", parquet(table))
    stated = {"image_rows": {"files": "shown.parquet"}}
    source(world, "texts", "a.parquet", parquet(rows([[3]])), **stated)
    [row] = samples(world, texts=1)
    assert (row["image"], row["image_sha256"]) == (
        "texts/shown.parquet/@image/3",
        sha256(IMAGES[3]),
    )


def test_a_cell_of_several_images_is_no_image(world: World) -> None:
    cells = pa.array(
        [[{"bytes": i, "path": None} for i in IMAGES[:n]] for n in (1, 2)], pa.list_(CELL)
    )
    world.file("texts", "shown.parquet", parquet(pa.table({"image": cells})))
    stated = {"image_rows": {"files": "shown.parquet"}}
    source(world, "texts", "a.parquet", parquet(rows([[0], [1]])), **stated)
    assert [row["image_sha256"] for row in samples(world, texts=2)] == [sha256(IMAGES[0])]
    [lost] = [row for row in ledger(world) if row["outcome"] == "dropped"]
    assert (lost["upstream_id"], lost["reason"]) == ("r1", "image_undecodable")


def test_texts_and_truth_values_are_no_rows() -> None:
    record = {"image": "a.jpg", "images": [True, "b.jpg", 1.5, 7]}
    name_row_images(record, ("image", "images"), ImageRows(files="f.parquet"), "a.parquet")
    assert record["image"] == "a.jpg"
    assert record["images"][:3] == [True, "b.jpg", 1.5]
    assert record["images"][3] == ("f.parquet/@image/7", "")


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ({"images": []}, "image_rows.collection: shots is not among `images`"),
        ({"layout": "llava"}, "only forms read row numbers"),
    ],
)
def test_a_manifest_names_a_collection_and_a_form(
    stated: dict[str, Any], problem: str, world: World
) -> None:
    shots(world, "data/0.parquet")
    source(world, "texts", "a.parquet", b"", **{**STATED, **stated})
    with pytest.raises(UserError, match=problem):
        world.build({"texts": 1})
