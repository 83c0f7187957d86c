"""Images from a published dataset's parquet files, or from any folder."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import World
from training_world import STAGES, lay_shapes, manifest, model

from imp_data.errors import UserError
from imp_data.images.reader import TooManyBytes
from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.data.parquet_images import Release
from imp_data.training.loop.reporting import read_metrics
from imp_data.training.loop.run import Run, train

LIMIT = 1 << 20


def lay(path: Path, images: dict[str, bytes | None], rows_a_group: int = 2) -> Path:
    """A parquet file with these images, each beside a text."""
    rows = [{"id": n, "image": {"bytes": data, "path": n}} for n, data in images.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=rows_a_group)
    return path


def test_a_image_is_found_by_its_name_in_any_file_and_row_group(tmp_path: Path) -> None:
    some = {f"a/{n}.png": bytes([n]) * 9 for n in range(5)}
    others = {f"b/{n}.png": bytes([n + 50]) * 9 for n in range(3)}
    lay(tmp_path / "data/one.parquet", some)
    lay(tmp_path / "data/two.parquet", others)
    release = Release(tmp_path)
    for read in (release.read, pickle.loads(pickle.dumps(release)).read):
        assert {name: read(name, LIMIT) for name in {**some, **others}} == {**some, **others}
    with pytest.raises(FileNotFoundError):
        release.read("a/9.png", LIMIT)
    with pytest.raises(TooManyBytes):
        release.read("a/1.png", 8)


def test_what_datasets_writes_is_read(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image()})
    rows = [{"image": {"bytes": b"some", "path": "a/0.png"}}]
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "0.parquet")
    assert Release(tmp_path).read("a/0.png", LIMIT) == b"some"


def lay_pushed(path: Path, images: dict[str, bytes], beside: bool = False) -> None:
    """What `Dataset.push_to_hub` uploads: of an image's name only the file's is left."""
    import datasets

    named = [{"image": name} for name in images] if beside else [{}] * len(images)
    held = [{"image": {"bytes": data, "path": name}} for name, data in images.items()]
    rows = [{**name, **image} for name, image in zip(named, held, strict=True)]
    names = {"image": datasets.Value("string")} if beside else {}
    features = datasets.Features({**names, "image": datasets.Image()})
    table = datasets.Dataset.from_list(rows, features=features).data.table
    pushed = datasets.table.embed_table_storage(table)
    assert [p["path"] for p in pushed["image"].to_pylist()] == [Path(n).name for n in images]
    pq.write_table(pushed, path)


def test_what_is_pushed_to_the_hub_is_found_by_the_files_names(tmp_path: Path) -> None:
    lay_pushed(tmp_path / "0.parquet", {"a/0.png": b"some", "a/1.png": b"other"})
    lay_pushed(tmp_path / "1.parquet", {"a/0.png": b"some"})
    release = Release(tmp_path)
    assert [release.read(f"a/{n}.png", LIMIT) for n in range(2)] == [b"some", b"other"]


def test_two_images_of_one_files_name_are_told_apart_by_names_beside_them(tmp_path: Path) -> None:
    images = {"a/0.png": b"some", "b/0.png": b"other"}
    (tmp_path / "bare").mkdir()
    (tmp_path / "named").mkdir()
    lay_pushed(tmp_path / "bare/0.parquet", images)
    lay_pushed(tmp_path / "named/0.parquet", images, beside=True)
    with pytest.raises(UserError, match=r"bare: 2 images have the name 0\.png\n.*\(b/0\.png\)"):
        Release(tmp_path / "bare").read("b/0.png", LIMIT)
    release = Release(tmp_path / "named")
    assert {name: release.read(name, LIMIT) for name in images} == images


def test_a_file_s_name_stands_for_no_other_image_where_names_are_whole(tmp_path: Path) -> None:
    lay(tmp_path / "0.parquet", {"0.png": b"some", "a/1.png": b"other"})
    assert Release(tmp_path).read("0.png", LIMIT) == b"some"
    with pytest.raises(FileNotFoundError):
        Release(tmp_path).read("a/0.png", LIMIT)


def test_a_image_without_bytes_is_not_there(tmp_path: Path) -> None:
    lay(tmp_path / "0.parquet", {"a/0.png": None, "a/1.png": b"some"})
    with pytest.raises(FileNotFoundError):
        Release(tmp_path).read("a/0.png", LIMIT)


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_a_file_that_holds_none_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "0.parquet"
    if content:
        path.write_bytes(content)
    else:
        pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(UserError, match=r"0\.parquet: (cannot be read|has no column of images)"):
        Release(tmp_path)


def test_a_run_is_the_same_wherever_its_images_are(world: World, tmp_path: Path) -> None:
    folder = lay_shapes(world, 6)
    manifest(world)
    files = {f"shapes/{p.name}": p for p in world.data.root.rglob("*.png")}
    assert len(files) == 6
    lay(tmp_path / "release/0.parquet", {name: p.read_bytes() for name, p in files.items()})
    for name, path in files.items():
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "unpacked" / name)

    def losses(out: Path, **options: Any) -> list[float]:
        said = model(world, {"projector": STAGES["projector"]})
        train(Run(said, world.manifests, [open_mixture(folder)], out, workers=0, **options))
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
