"""A benchmark's images are listed by files of ids, in the rows of tables, or in folders."""

import json
import zipfile
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PUBLISHED, World, encoded, photo, record, run

from imp_data.errors import UserError
from imp_data.ledger import Reason
from imp_data.pipeline.build import Build

RULE = [{"benchmark": "quiz", "max_distance_bits": 10}]
QUIZ: dict[str, Any] = {**PUBLISHED, "files": [{"path": "quiz.parquet", "by_hand": "put it there"}]}


def table(rows: list[dict[str, Any]]) -> bytes:
    """A Parquet file as the Hub has them; `image` is the bytes of an image."""
    cells = [{**row, "image": {"bytes": row["image"], "path": None}} for row in rows]
    out = BytesIO()
    pq.write_table(pa.Table.from_pylist(cells), out, row_group_size=2)
    return out.getvalue()


def quiz(world: World, **fields: Any) -> Build:
    world.manifest("benchmarks", "quiz", **{**QUIZ, **fields})
    world.source("chats", [record("1")])
    build = world.build({"chats": 1}, decontaminate=RULE)
    for name in build.published:
        build.raw(name)
    return build


def listed(build: Build) -> list[tuple[str, str, str]]:
    build.benchmark("quiz")
    rows = pq.read_table(build.data.benchmark("quiz")).to_pylist()
    return [(row["id"], row["image"], row["status"]) for row in rows]


def identities(build: Build) -> dict[str, list[str]]:
    build.benchmark("quiz")
    rows = pq.read_table(build.data.benchmark("quiz")).to_pylist()
    return {row["id"]: row["identities"] for row in rows}


def test_an_image_counts_once_however_many_questions_a_table_asks_about_it(world: World) -> None:
    one, two = encoded(photo(1)), encoded(photo(2))
    rows = [
        {"question_id": 11, "question": "Which?", "image": one},
        {"question_id": 12, "question": "Where?", "image": one},
        {"question_id": 13, "question": "Which?", "image": two},
    ]
    world.file("quiz", "quiz.parquet", table(rows))
    build = quiz(world, records=["quiz.parquet"], columns={"id": "question_id"})
    assert listed(build) == [
        ("11", "quiz/quiz.parquet/@image/0", "ok"),
        ("13", "quiz/quiz.parquet/@image/2", "ok"),
    ]


def test_rows_of_one_id_have_one_image_and_only_the_first_is_read(world: World) -> None:
    rows = [{"question_id": "count/1.png", "image": encoded(photo(n))} for n in (1, 1, 2)]
    world.file("quiz", "quiz.parquet", table(rows))
    build = quiz(world, records=["quiz.parquet"], columns={"id": "question_id"})
    assert listed(build) == [("count/1.png", "quiz/quiz.parquet/@image/0", "ok")]


def test_a_table_without_ids_has_its_rows_for_ids(world: World) -> None:
    rows = [{"question": "?", "image": encoded(photo(n))} for n in (1, 2)]
    world.file("quiz", "quiz.parquet", table(rows))
    build = quiz(world, records=["*.parquet"])
    assert [identity for identity, _, _ in listed(build)] == [
        "quiz/quiz.parquet, row 0",
        "quiz/quiz.parquet, row 1",
    ]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"id": "qid"}, "lacks the column qid"),
        ({"image": "question_id"}, "has no such column of images"),
    ],
)
def test_a_wrong_column_is_an_error_that_lists_the_columns(
    columns: dict[str, str], problem: str, world: World
) -> None:
    rows = [{"question_id": 1, "image": encoded(photo(1))}]
    path = world.file("quiz", "quiz.parquet", table(rows))
    build = quiz(world, records=["quiz.parquet"], columns=columns)
    with pytest.raises(UserError) as error:
        build.benchmark("quiz")
    listed = "(columns: question_id, image; of images: image)"
    assert (error.value.where, error.value.problem) == (str(path), f"{problem} {listed}")


def test_a_question_on_several_images_has_each_of_them(world: World) -> None:
    one, two = ({"bytes": encoded(photo(n)), "path": None} for n in (1, 2))
    rows = [
        {"qid": "a", "image_1": one, "image_2": two},
        {"qid": "b", "image_1": one, "image_2": None},
    ]
    out = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    world.file("quiz", "quiz.parquet", out.getvalue())
    build = quiz(world, records=["quiz.parquet"], columns={"id": "qid"})
    assert listed(build) == [
        ("a, image_1", "quiz/quiz.parquet/@image_1/0", "ok"),
        ("a, image_2", "quiz/quiz.parquet/@image_2/0", "ok"),
    ]


def test_a_row_without_an_id_is_an_error_since_its_image_would_pass(world: World) -> None:
    rows = [{"question_id": n, "image": encoded(photo(1))} for n in (1, None)]
    path = world.file("quiz", "quiz.parquet", table(rows))
    build = quiz(world, records=["quiz.parquet"], columns={"id": "question_id"})
    with pytest.raises(UserError) as error:
        build.benchmark("quiz")
    assert (error.value.where, error.value.problem) == (f"{path}, row 1", "has no question_id")


def test_a_truncated_table_is_an_error_that_names_it(world: World) -> None:
    content = table([{"question_id": 1, "image": encoded(photo(1))}])
    path = world.file("quiz", "quiz.parquet", content[:-20])
    build = quiz(world, records=["quiz.parquet"])
    with pytest.raises(UserError, match="is not a complete Parquet file") as error:
        build.benchmark("quiz")
    assert error.value.where == str(path)


@pytest.mark.parametrize("packed", [False, True])
def test_all_images_of_a_collection_are_the_benchmark_s_if_no_file_lists_ids(
    packed: bool, world: World
) -> None:
    images = {"vet/v1_0.png": encoded(photo(1)), "vet/v1_1.png": encoded(photo(2))}
    folder = {"path": "quiz", "inside": "vet"}
    if packed:
        out = BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in {**images, "other/logo.png": encoded(photo(3))}.items():
                archive.writestr(name, content)
        world.file("quiz", "vet.zip", out.getvalue())
        folder["file"] = "vet.zip"
    else:
        for name, content in images.items():
            world.file("quiz", name, content)
    world.manifest("images", "quiz", **PUBLISHED, folders=[folder])
    build = quiz(world, files=[], images=["quiz"])
    assert listed(build) == [
        ("quiz/v1_0.png", "quiz/v1_0.png", "ok"),
        ("quiz/v1_1.png", "quiz/v1_1.png", "ok"),
    ]


@pytest.mark.parametrize(
    ("file", "content", "fields"),
    [
        ("ids.txt", b"000000000037\n\n000000000042\r\n", {}),
        (
            "questions.json",
            json.dumps({"questions": [{"image_id": 37}, {"image_id": 42}, {"image_id": 37}]}),
            {"id_key": "questions"},
        ),
        (
            "lines.jsonl",
            '{"image": "COCO_val2014_000000000037.jpg"}\n{"image": "000000000042.jpg"}\n',
            {"id_field": "image"},
        ),
    ],
)
def test_ids_are_read_from_text_json_and_json_lines(
    file: str, content: bytes | str, fields: dict[str, Any], world: World
) -> None:
    world.file("quiz", file, content.encode() if isinstance(content, str) else content)
    files = [{"path": file, "by_hand": "put it there"}]
    build = quiz(world, files=files, id_files=[file], image_ids="coco", **fields)
    found = [one for some in identities(build).values() for one in some]
    assert found == ["coco:000000000037", "coco:000000000042"]


def test_an_image_is_known_by_its_id_in_a_collection_that_shows_it_too(world: World) -> None:
    world.file("quiz", "ids.txt", b"000000000037\n000000000042")
    same = [
        {"image_id": 2317533, "coco_id": 37},
        {"image_id": 2317534, "coco_id": None},
        {"image_id": 2317535, "coco_id": 99},
    ]
    world.file("quiz", "image_data.json", json.dumps(same).encode())
    files = [{"path": path, "by_hand": "put it there"} for path in ("ids.txt", "image_data.json")]
    build = quiz(
        world,
        files=files,
        id_files=["ids.txt"],
        image_ids="coco",
        same_images=[
            {"file": "image_data.json", "ids": {"visual_genome": "image_id", "coco": "coco_id"}}
        ],
    )
    assert identities(build) == {
        "000000000037": ["coco:000000000037", "visual_genome:2317533"],
        "000000000042": ["coco:000000000042"],
    }


def test_a_record_is_dropped_for_a_benchmark_s_image_under_another_name(world: World) -> None:
    world.file("quiz", "ids.txt", b"COCO_val2014_000000000037\n")
    world.manifest(
        "benchmarks",
        "quiz",
        **{**QUIZ, "files": [{"path": "ids.txt", "by_hand": "put it there"}]},
        id_files=["ids.txt"],
        image_ids="coco",
    )
    shown = {"train2017/000000000037.png": photo(1), "train2017/000000000038.png": photo(2)}
    world.images("coco", {name: encoded(image) for name, image in shown.items()})
    world.source(
        "chats", [record(str(n), f"coco/{name}") for n, name in enumerate(shown)], images=["coco"]
    )
    build = world.build({"chats": 2}, decontaminate=RULE)
    run(build)
    ledger = pq.read_table(build.data.mixture("small") / "ledger.parquet").to_pylist()
    dropped = {row["upstream_id"]: row for row in ledger if row["outcome"] == "dropped"}
    assert {i: row["reason"] for i, row in dropped.items()} == {"0": Reason.BENCHMARK_ID.value}
    assert json.loads(dropped["0"]["evidence"]) == {
        "benchmark": "quiz",
        "id": "COCO_val2014_000000000037",
        "identity": "coco:000000000037",
    }


def test_a_number_has_twelve_digits_in_the_names_of_coco_s_images(world: World) -> None:
    world.file("quiz", "questions.json", json.dumps({"questions": [{"image_id": 37}]}).encode())
    world.images("coco", {"COCO_test2015_000000000037.png": encoded(photo(1))}, path="coco/test")
    build = quiz(
        world,
        files=[{"path": "questions.json", "by_hand": "put it there"}],
        id_files=["questions.json"],
        id_key="questions",
        image_ids="coco",
        images=["coco"],
        image_paths=["coco/test/COCO_test2015_{id}.png"],
    )
    assert listed(build) == [("37", "coco/test/COCO_test2015_000000000037.png", "ok")]
