"""The dataset over a mixture: rows as tokens and pixels, and its shards."""

import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import World, encoded, photo, record, run

pytest.importorskip("torch", reason="pip install 'imp-data[train]'")
pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch

from imp_data.errors import UserError
from imp_data.images.reader import ImageReader
from imp_data.manifests import load_recipe
from imp_data.pipeline.build import Build
from imp_data.storage.data_dir import DataDir
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.collator import Collator, PackedCollator
from imp_data.training.data.dataset import InputSpec, MixtureDataset
from imp_data.training.data.encoding import EncodedSample, encode
from imp_data.training.data.images import preprocess
from imp_data.training.data.shards import Shards
from imp_data.training.model.tokenizers import byte_level_bpe, prepare_tokenizer

PHI2 = TEMPLATES["phi2"]


FIGURES = InputSpec(image_size=28, image_tokens=4, preprocessing="square", max_length=400)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return prepare_tokenizer(byte_level_bpe(["USER: What is it?"], 257), PHI2)


def shelf_of(folder: Path) -> ImageReader:
    """Return a reader of the images of a World's mixture."""
    manifest = folder.parents[2] / "manifests" / "mixtures" / "small.yaml"
    build = Build(load_recipe(manifest), DataDir(folder.parents[1]))
    return build.reader(tuple(build.recipe.images))


def dataset(folder: Path, tokenizer: Any, reader: ImageReader | None = None) -> MixtureDataset:
    return MixtureDataset(folder, reader or shelf_of(folder), tokenizer, PHI2, FIGURES)


def place(data: MixtureDataset, image: str) -> int:
    """Return the number of the row with an image."""
    images = [data.shards.row(n, ["image"])["image"] for n in range(len(data))]
    return images.index(image)


def test_an_item_has_the_tokens_and_the_pixels_of_its_row(album: Path, tokenizer: Any) -> None:
    data = dataset(album, tokenizer)
    row = place(data, "photos/5.png")
    item = data.item(row)
    sample = data.shards.row(row, ["id", "conversations"])
    tokens = encode(tokenizer, PHI2, sample["conversations"], 4, 400)
    assert isinstance(tokens, EncodedSample)
    assert item["id"] == sample["id"]
    assert item["input_ids"].tolist() == tokens.input_ids.tolist()
    assert item["labels"].tolist() == tokens.labels.tolist()
    assert item["pixel_values"] is not None
    assert (item["pixel_values"] == preprocess(photo(5), 28, "square")).all()


def test_a_sample_without_an_image_has_no_pixels(album: Path, tokenizer: Any) -> None:
    data = dataset(album, tokenizer)
    rows = [n for n in range(len(data)) if data.shards.row(n, ["image"])["image"] is None]
    assert len(rows) == 2
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    for row in rows:
        item = data.item(row)
        assert item["pixel_values"] is None
        assert image_id not in item["input_ids"]


def test_rows_are_numbered_across_shards(album: Path) -> None:
    from datasets import load_from_disk

    rows = load_from_disk(str(album)).to_list()
    shards = Shards(album)
    assert len(list(album.glob("*.arrow"))) > 1
    found = [shards.row(n, list(rows[0])) for n in range(len(shards))]
    assert found == rows
    for beyond in (-1, len(rows)):
        with pytest.raises(IndexError):
            shards.row(beyond, ["id"])


def test_a_pickled_dataset_holds_the_path_and_no_rows(album: Path) -> None:
    before = pa.total_allocated_bytes()
    shards = Shards(album)
    assert pa.total_allocated_bytes() == before
    sent = pickle.dumps(shards)
    assert len(sent) < 1000
    assert pickle.loads(sent).row(0, ["id"]) == shards.row(0, ["id"])


def test_a_folder_without_a_mixture_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the folder of a complete mixture"):
        Shards(tmp_path)


@pytest.fixture
def imaged(world: World) -> Path:
    """Build a mixture of three images in a zip."""
    raw = world.data.raw("photos")
    raw.mkdir(parents=True)
    with zipfile.ZipFile(raw / "all.zip", "w") as archive:
        for n in range(3):
            archive.writestr(f"in/{n}.png", encoded(photo(n)))
    by_hand = {"path": "all.zip", "by_hand": "put it there"}
    folders = [{"path": "photos", "file": "all.zip", "inside": "in"}]
    stated = {"title": "Some", "homepage": "https://example.org", "license": "CC0-1.0"}
    world.manifest("images", "photos", **stated, files=[by_hand], folders=folders)
    world.source("birds", [record(n, f"photos/{n}.png") for n in range(3)], images=["photos"])
    run(world.build({"birds": 3}))
    return world.data.mixture("small")


def test_images_are_read_from_a_zip(imaged: Path, tokenizer: Any) -> None:
    data = dataset(imaged, tokenizer)
    pixels = data.item(place(data, "photos/2.png"))["pixel_values"]
    assert pixels is not None
    assert (pixels == preprocess(photo(2), 28, "square")).all()


def failure(data: MixtureDataset, image: str) -> str:
    with pytest.raises(UserError) as raised:
        data.item(place(data, image))
    return str(raised.value)


def test_a_missing_or_changed_image_names_its_sample(imaged: Path, tokenizer: Any) -> None:
    data = dataset(imaged, tokenizer)
    raw = imaged.parents[1] / "raw" / "photos"
    with zipfile.ZipFile(raw / "all.zip", "w") as archive:
        archive.writestr("in/0.png", encoded(photo(7)))
        archive.writestr("in/1.png", encoded(photo(1)))
    name = data.shards.row(place(data, "photos/0.png"), ["id"])["id"]
    assert failure(data, "photos/0.png").startswith(
        f"sample {name}: its image photos/0.png differs from the one that the mixture was built "
    )
    assert "its image photos/2.png is not found" in failure(data, "photos/2.png")
    data.item(place(data, "photos/1.png"))


def test_the_dataset_refuses_the_rows_that_preflight_refuses(album: Path, tokenizer: Any) -> None:
    short = FIGURES._replace(max_length=20)
    data = MixtureDataset(album, shelf_of(album), tokenizer, PHI2, short)
    with pytest.raises(UserError, match="beyond 20"):
        data.item(0)


@pytest.mark.slow
def test_worker_processes_return_the_same_items(album: Path, tokenizer: Any) -> None:
    data, collate = dataset(album, tokenizer), Collator(tokenizer, FIGURES)
    loader = torch.utils.data.DataLoader(
        *(data, 2), num_workers=2, collate_fn=collate, multiprocessing_context="forkserver"
    )
    direct = [collate([data.item(n) for n in pair]) for pair in ((0, 1), (2, 3))]
    for found, expected in zip(loader, direct, strict=False):
        assert found["ids"] == expected["ids"]
        for name in ("input_ids", "labels", "attention_mask", "pixel_values"):
            assert torch.equal(found[name], expected[name])


def test_a_moved_mixture_is_still_read(album: Path, tokenizer: Any, tmp_path: Path) -> None:
    shutil.copytree(album, tmp_path / "moved")
    data = dataset(tmp_path / "moved", tokenizer, shelf_of(album))
    assert data.item(0)["id"] == dataset(album, tokenizer).item(0)["id"]


def two_images(world: World) -> Path:
    """Build a mixture of two samples, one on two images and one on text alone."""
    files = {f"{n}.png": encoded(photo(n)) for n in (1, 2)}
    world.images("photos", files)
    pair = record("pair", ["photos/2.png", "photos/1.png"])
    pair["conversations"][0]["value"] = "<image>\n<image>\nWhat is it?"
    world.source("photos", [pair, record("text")], images=["photos"], max_images=2)
    run(world.build({"photos": 2}))
    return world.data.mixture("small")


def test_an_item_of_two_images_has_the_pixels_of_both_in_order(
    world: World, tokenizer: Any
) -> None:
    data = dataset(two_images(world), tokenizer)
    [item] = [item for item in map(data.item, range(2)) if item["pixel_values"] is not None]
    assert item["pixel_values"] is not None
    assert item["pixel_values"].shape == (2, 3, 28, 28)
    for pixels, seed in zip(item["pixel_values"], (2, 1), strict=True):
        assert (pixels == preprocess(photo(seed), 28, "square")).all()
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    assert (item["input_ids"] == image_id).sum() == 2 * FIGURES.image_tokens


@pytest.mark.parametrize("kind", [Collator, PackedCollator])
def test_a_batch_has_the_features_of_all_images(world: World, tokenizer: Any, kind: Any) -> None:
    data = dataset(two_images(world), tokenizer)
    items = [data.item(0), data.item(1)]
    batch = kind(tokenizer, FIGURES)(items if kind is Collator else [items])
    assert batch["pixel_values"].shape == (2, 3, 28, 28)
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    assert (batch["input_ids"] == image_id).sum() == 2 * FIGURES.image_tokens
