"""A benchmark becomes a pack of ids and fingerprints that removes its images."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import World, encoded, photo
from PIL import Image

from imp_data.errors import UserError
from imp_data.manifests import Benchmark, load_manifest
from imp_data.pipeline.build import Build
from imp_data.screening.decontamination.benchmark_index import BenchmarkIndex, read_benchmark_index
from imp_data.storage.stage_cache import StageResult

TRAIN, VAL, TEST = "00000000000000aa", "00000000000000bb", "00000000000000cc"
TEXTVQA = Path(__file__).parents[2] / "manifests" / "benchmarks" / "textvqa.yaml"
FILES = [f"TextVQA_0.5.1_{split}.json" for split in ("train", "val", "test")]
RULE = [{"benchmark": "textvqa", "max_distance_bits": 10}]


def questions(*ids: object) -> bytes:
    """A TextVQA file; questions on one image repeat its id."""
    header = {"dataset_type": "t", "dataset_name": "textvqa", "dataset_version": "0.5.1"}
    data = [{"question_id": n, "question": "?", "image_id": i} for n, i in enumerate(ids)]
    return json.dumps({**header, "data": data}).encode()


def textvqa(world: World, **images: str) -> Build:
    """The project's own TextVQA manifest over three small files and some of their images."""
    for file, content in zip(
        FILES, [questions(TRAIN, TRAIN), questions(VAL), questions(TEST, VAL)], strict=True
    ):
        world.file("textvqa", file, content)
    stated = load_manifest(TEXTVQA, Benchmark).model_dump(
        mode="json", exclude={"name", "files", "questions"}
    )
    files = [{"path": file, "by_hand": "put it there"} for file in FILES]
    world.manifest("benchmarks", "textvqa", **stated, files=files)
    shown = {path: encoded(photo(len(path))) for path in images.values()}
    world.images("textvqa", shown, path="textvqa")
    world.source("chats", [])
    return world.build({"chats": 1}, decontaminate=RULE)


def built(build: Build) -> StageResult:
    for name in build.published:
        build.raw(name)
    return build.benchmark("textvqa")


def pack_of(build: Build) -> BenchmarkIndex:
    return read_benchmark_index(build.data.benchmark("textvqa"))


def test_each_id_of_the_three_files_is_listed_once_and_found_at_either_path(
    world: World,
) -> None:
    build = textvqa(world, a=f"train_images/{TRAIN}.jpg", b=f"test_images/{TEST}.jpg")
    figures = built(build).figures
    assert figures.pop("altered")["images"] == 2
    assert figures == {"ids": 3, "fingerprinted": 2, "unseen": 1}
    rows = pq.read_table(build.data.benchmark("textvqa")).to_pylist()
    assert [(row["id"], row["image"], row["status"]) for row in rows] == [
        (TRAIN, f"textvqa/train_images/{TRAIN}.jpg", "ok"),
        (VAL, f"textvqa/train_images/{VAL}.jpg", "missing"),
        (TEST, f"textvqa/test_images/{TEST}.jpg", "ok"),
    ]


def test_the_pack_has_every_id_and_the_hashes_of_the_fingerprinted_images(world: World) -> None:
    build = textvqa(world, a=f"train_images/{TRAIN}.jpg", b=f"train_images/{VAL}.jpg")
    built(build)
    rows = {row["id"]: row for row in pq.read_table(build.data.benchmark("textvqa")).to_pylist()}
    pack = pack_of(build)
    assert (pack.name, pack.ids) == ("textvqa", {TRAIN, VAL, TEST})
    assert pack.sha256s == {rows[i]["sha256"]: i for i in (TRAIN, VAL)}
    assert dict(zip(pack.hash_ids, pack.hashes.tolist(), strict=True)) == {
        i: rows[i]["phash"] for i in (TRAIN, VAL)
    }


def test_an_image_that_exif_turns_has_both_hashes_in_the_pack(world: World) -> None:
    build = textvqa(world)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(photo(1), "JPEG", exif=exif)
    world.file("textvqa", f"loose/train_images/{TRAIN}.jpg", turned)
    built(build)
    row = pq.read_table(build.data.benchmark("textvqa")).to_pylist()[0]
    pack = pack_of(build)
    assert pack.hash_ids == [TRAIN, TRAIN]
    assert pack.hashes.tolist() == [row["phash"], row["phash_upright"]]


def test_candidates_for_ids_are_sixteen_hex_digits_that_stand_alone(world: World) -> None:
    build = textvqa(world)
    built(build)
    pattern = pack_of(build).id_pattern
    assert pattern.findall("textcaps+caption_12_00000000000000aa.jpg") == [TRAIN]
    assert pattern.findall("00000000000000aa0.jpg") == []


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (b'{"image_id": 7.5}', "image_id"),
        (b'{"image_id": ""}', "image_id"),
        (b'{"image": "x"}', "image"),
        (b'["x"]', '["x"]'),
        (b'{"image_id": "\xff"}', "image_id"),
    ],
)
def test_an_id_that_cannot_be_read_is_an_error_that_names_file_and_byte(
    record: bytes, shown: str, world: World
) -> None:
    build = textvqa(world)
    content = b'{"data": [{"image_id": "00000000000000aa"},' + record + b"]}"
    path = world.file("textvqa", FILES[1], content)
    with pytest.raises(UserError, match="without a readable image_id") as error:
        built(build)
    assert error.value.where == f"{path}, byte {content.index(record)}"
    assert shown in error.value.problem
    assert not build.data.benchmark("textvqa").exists()


def test_without_images_the_pack_has_ids_alone(world: World) -> None:
    textvqa(world, a=f"train_images/{TRAIN}.jpg")
    build = world.build({"chats": 1}, decontaminate=RULE, images="deferred")
    assert built(build).figures == {"ids": 3, "fingerprinted": 0, "unseen": 3}
    pack = pack_of(build)
    assert (pack.ids, pack.sha256s, pack.hashes.tolist()) == ({TRAIN, VAL, TEST}, {}, [])


def test_a_flat_image_of_a_benchmark_matches_by_its_bytes_alone(world: World) -> None:
    build = textvqa(world)
    flat = encoded(Image.new("RGB", (60, 40), "white"))
    world.file("textvqa", f"loose/train_images/{TRAIN}.jpg", flat)
    assert built(build).figures == {"ids": 3, "fingerprinted": 1, "unseen": 2}
    pack = pack_of(build)
    assert (list(pack.sha256s.values()), pack.hash_ids) == ([TRAIN], [])
