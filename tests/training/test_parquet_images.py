"""Images from a published dataset's Parquet files, or from any folder."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import World
from training_world import STAGES, build_shapes, manifest, model

from imp_data.errors import UserError
from imp_data.images.reader import TooManyBytes
from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.data.parquet_images import ParquetImages
from imp_data.training.loop.reporting import read_metrics
from imp_data.training.loop.run import Run, train

LIMIT = 1 << 20


def write_parquet(path: Path, images: dict[str, bytes | None], rows_a_group: int = 2) -> Path:
    """Write a Parquet file with these images and a column of text."""
    rows = [{"id": n, "image": {"bytes": data, "path": n}} for n, data in images.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=rows_a_group)
    return path


def test_an_image_is_found_by_name_in_any_file_and_row_group(tmp_path: Path) -> None:
    some = {f"a/{n}.png": bytes([n]) * 9 for n in range(5)}
    others = {f"b/{n}.png": bytes([n + 50]) * 9 for n in range(3)}
    write_parquet(tmp_path / "data/one.parquet", some)
    write_parquet(tmp_path / "data/two.parquet", others)
    release = ParquetImages(tmp_path)
    for read in (release.read, pickle.loads(pickle.dumps(release)).read):
        assert {name: read(name, LIMIT) for name in {**some, **others}} == {**some, **others}
    with pytest.raises(FileNotFoundError):
        release.read("a/9.png", LIMIT)
    with pytest.raises(TooManyBytes):
        release.read("a/1.png", 8)


def test_files_of_the_library_datasets_are_read(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image()})
    rows = [{"image": {"bytes": b"some", "path": "a/0.png"}}]
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "0.parquet")
    assert ParquetImages(tmp_path).read("a/0.png", LIMIT) == b"some"


def write_pushed(path: Path, images: dict[str, bytes], full_names: bool = False) -> None:
    """Write a file like `Dataset.push_to_hub`, which keeps only the file name of an image."""
    import datasets

    named = [{"image": name} for name in images] if full_names else [{}] * len(images)
    column = "photo" if full_names else "image"
    files = [{column: {"bytes": data, "path": name}} for name, data in images.items()]
    rows = [{**name, **file} for name, file in zip(named, files, strict=True)]
    names = {"image": datasets.Value("string")} if full_names else {}
    features = datasets.Features({**names, column: datasets.Image()})
    table = datasets.Dataset.from_list(rows, features=features).data.table
    pushed = datasets.table.embed_table_storage(table)
    assert [p["path"] for p in pushed[column].to_pylist()] == [Path(n).name for n in images]
    pq.write_table(pushed, path)


def test_files_of_push_to_hub_are_found_by_bare_file_names(tmp_path: Path) -> None:
    write_pushed(tmp_path / "0.parquet", {"a/0.png": b"some", "a/1.png": b"other"})
    write_pushed(tmp_path / "1.parquet", {"a/0.png": b"some"})
    release = ParquetImages(tmp_path)
    assert [release.read(f"a/{n}.png", LIMIT) for n in range(2)] == [b"some", b"other"]


def test_images_with_equal_file_names_need_a_column_of_full_names(tmp_path: Path) -> None:
    images = {"a/0.png": b"some", "b/0.png": b"other"}
    (tmp_path / "bare").mkdir()
    (tmp_path / "named").mkdir()
    write_pushed(tmp_path / "bare/0.parquet", images)
    write_pushed(tmp_path / "named/0.parquet", images, full_names=True)
    with pytest.raises(UserError, match=r"bare: 2 images have the name 0\.png\n.*\(b/0\.png\)"):
        ParquetImages(tmp_path / "bare").read("b/0.png", LIMIT)
    release = ParquetImages(tmp_path / "named")
    assert {name: release.read(name, LIMIT) for name in images} == images


def test_a_bare_file_name_matches_no_image_with_a_full_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet", {"0.png": b"some", "a/1.png": b"other"})
    assert ParquetImages(tmp_path).read("0.png", LIMIT) == b"some"
    with pytest.raises(FileNotFoundError):
        ParquetImages(tmp_path).read("a/0.png", LIMIT)


def test_an_image_without_bytes_is_missing(tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet", {"a/0.png": None, "a/1.png": b"some"})
    with pytest.raises(FileNotFoundError):
        ParquetImages(tmp_path).read("a/0.png", LIMIT)


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_a_file_without_images_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "0.parquet"
    if content:
        path.write_bytes(content)
    else:
        pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(UserError, match=r"0\.parquet: (cannot be read|has no column of images)"):
        ParquetImages(tmp_path)


@pytest.mark.slow
def test_a_run_does_not_depend_on_the_location_of_images(world: World, tmp_path: Path) -> None:
    folder = build_shapes(world, 6)
    manifest(world)
    files = {f"shapes/{p.name}": p for p in world.data.root.rglob("*.png")}
    assert len(files) == 6
    write_parquet(
        tmp_path / "release/0.parquet", {name: p.read_bytes() for name, p in files.items()}
    )
    for name, path in files.items():
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "unpacked" / name)

    def losses(out: Path, **options: Any) -> list[float]:
        small = model(world, {"projector": STAGES["projector"]})
        train(Run(small, world.manifests, [open_mixture(folder)], out, workers=0, **options))
        return [line["loss"] for line in read_metrics(out / "projector")]

    expected = losses(tmp_path / "at home")
    for path in files.values():
        path.unlink()
    assert losses(tmp_path / "1", images=tmp_path / "release") == expected
    assert losses(tmp_path / "2", images=tmp_path / "unpacked") == expected
    with pytest.raises(UserError, match="is not found"):
        losses(tmp_path / "3")
    with pytest.raises(UserError, match="nowhere: is no folder"):
        losses(tmp_path / "4", images=tmp_path / "nowhere")
