"""The dataset and the collators: tokens and pixels, batches, packed rows."""

import pickle
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import World, encoded, photo, record, run

pytest.importorskip("torch", reason="pip install 'imp-data[train]'")
pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
import transformers

from imp_data.errors import UserError
from imp_data.images.reader import ImageReader
from imp_data.manifests import load_recipe
from imp_data.pipeline.build import Build
from imp_data.storage.data_dir import DataDir
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.collator import Collator, PackedCollator
from imp_data.training.data.dataset import Figures, Item, MixtureDataset
from imp_data.training.data.encoding import Encoded, encode
from imp_data.training.data.images import preprocess
from imp_data.training.data.shards import Shards
from imp_data.training.model.tokenizers import byte_level_bpe, prepared

PHI2 = TEMPLATES["phi2"]
FIGURES = Figures(image_size=28, image_tokens=4, preprocessing="square", max_length=400)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return prepared(byte_level_bpe(["USER: What is it?"], 257), PHI2)


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
    assert isinstance(tokens, Encoded)
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


def item(ids: Sequence[int], learned: int, image: float | None = None) -> Item:
    """Return an item whose last `learned` tokens are learned, with an image of one level."""
    labels = [-100] * (len(ids) - learned) + list(ids[len(ids) - learned :])
    pixels = None if image is None else np.full((3, 28, 28), image, np.float32)
    return {
        "id": f"some/{ids[0]}",
        "input_ids": np.array(ids, np.int64),
        "labels": np.array(labels, np.int64),
        "weight": 1.0,
        "pixel_values": pixels,
    }


# The tokenizer's ids of padding and of the image's token.
PAD, IMAGE = 0, 258
SHOWN = [7, IMAGE, IMAGE, IMAGE, IMAGE, 8, 9]


def test_a_batch_is_padded_to_its_longest_item_and_stacks_its_images(tokenizer: Any) -> None:
    assert (tokenizer.pad_token_id, tokenizer.convert_tokens_to_ids("<image>")) == (PAD, IMAGE)
    batch = Collator(tokenizer, FIGURES)([item([5, 6, 4], 2), item(SHOWN, 1, image=0.5)])
    assert batch["input_ids"].tolist() == [[5, 6, 4, PAD, PAD, PAD, PAD], SHOWN]
    assert batch["labels"].tolist() == [[-100, 6, 4, *[-100] * 4], [*[-100] * 6, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0, 0], [1] * 7]
    assert batch["pixel_values"].shape == (1, 3, 28, 28)
    assert batch["ids"] == ["some/5", "some/7"]
    assert batch["tokens"] == 10


def test_a_batch_without_images_gets_a_masked_black_image(tokenizer: Any) -> None:
    batch = Collator(tokenizer, FIGURES)([item([5, 6, 4], 2), item([5], 0)])
    assert batch["input_ids"].tolist() == [[5, 6, 4, PAD, PAD], [5, IMAGE, IMAGE, IMAGE, IMAGE]]
    assert batch["labels"].tolist() == [[-100, 6, 4, -100, -100], [-100] * 5]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert batch["pixel_values"].tolist() == torch.zeros(1, 3, 28, 28).tolist()


def test_packed_position_ids_restart_with_every_item(tokenizer: Any) -> None:
    lists = [[item([5, 6, 4], 3), item(SHOWN, 1, image=0.5)], [item([3, 2], 1)]]
    batch = PackedCollator(tokenizer, FIGURES)(lists)
    assert batch["input_ids"].tolist() == [[5, 6, 4, *SHOWN], [3, 2, *[PAD] * 8]]
    assert batch["labels"].tolist() == [[-100, 6, 4, *[-100] * 6, 9], [-100, 2, *[-100] * 8]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 5, 6], [0, 1, *[0] * 8]]
    assert "attention_mask" not in batch and batch["use_cache"] is False
    assert batch["ids"] == ["some/5", "some/7", "some/3"]
    assert batch["tokens"] == 12


def network(architecture: str, attention: str) -> Any:
    """Return a tiny LLaVA with one of the three decoders."""
    text = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 4, "pad_token_id": 0}
    text["max_position_embeddings"] = 512
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    config = transformers.LlavaConfig(
        vision_config=transformers.SiglipVisionConfig(**vision, vision_use_head=False),
        text_config=transformers.AutoConfig.for_model(architecture, **text),
        image_token_index=IMAGE,
        vision_feature_layer=-2,
        vision_feature_select_strategy="full",
        image_seq_length=4,
    )
    torch.manual_seed(0)
    made = transformers.AutoModelForImageTextToText.from_config(
        config, attn_implementation=attention
    )
    return made.eval()


def logits(model: Any, batch: dict[str, Any], **changed: Any) -> Any:
    unseen = {"ids", "tokens", "labels", "logits_to_keep", "shift_labels", "loss_weights"}
    given = {name: value for name, value in batch.items() if name not in unseen}
    with torch.no_grad():
        return model(**{**given, **changed}).logits


ITEMS = [
    item([5, 6, 4, 9, 12], 2),
    item([7, *[IMAGE] * 4, 8, 9], 1, image=0.5),
    item([11, 12, *[IMAGE] * 4, 3], 1, image=-0.5),
    item([17, 18, 19], 1),
]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ["phi", "qwen2", "phi3"])
def test_packed_items_have_the_same_logits_as_alone(
    architecture: str, attention: str, tokenizer: Any
) -> None:
    model = network(architecture, attention)
    batch = PackedCollator(tokenizer, FIGURES)([[ITEMS[0], ITEMS[1], ITEMS[3]], [ITEMS[2]]])
    together = logits(model, batch)
    begins = {0: (0, 0), 1: (0, 5), 3: (0, 12), 2: (1, 0)}
    worst = 0.0
    for number, (row, begin) in begins.items():
        size = len(ITEMS[number]["input_ids"])
        alone = logits(model, Collator(tokenizer, FIGURES)([ITEMS[number]]))[0, :size]
        worst = max(worst, (together[row, begin : begin + size] - alone).abs().max().item())
    assert worst < 1e-4
    # With a cache, transformers does not detect packed rows: later items have other logits.
    mixed = logits(model, batch, use_cache=True)[0, 5:12] - together[0, 5:12]
    assert mixed.abs().max() > 1e-3


@pytest.mark.parametrize("collator", [Collator, PackedCollator])
def test_the_black_image_changes_no_logits_and_reaches_the_projector(
    collator: type[Collator], tokenizer: Any
) -> None:
    model = network("phi", "sdpa")
    given = [ITEMS[0], ITEMS[3]] if collator is Collator else [[ITEMS[0]], [ITEMS[3]]]
    batch = collator(tokenizer, FIGURES)(given)  # type: ignore[arg-type]
    found = logits(model, batch)
    for row, one in enumerate((ITEMS[0], ITEMS[3])):
        ids = torch.from_numpy(one["input_ids"])[None]
        alone = model(input_ids=ids).logits[0]
        assert (found[row, : ids.shape[1]] - alone).abs().max() < 1e-4
    batch = {name: value for name, value in batch.items() if name not in {"ids", "tokens"}}
    model(**batch).loss.backward()
    for parameter in model.model.multi_modal_projector.parameters():
        assert parameter.grad is not None and not parameter.grad.any()


@pytest.mark.parametrize("collator", [Collator, PackedCollator])
def test_logits_are_computed_for_learned_tokens_alone(
    collator: type[Collator], tokenizer: Any
) -> None:
    model = network("phi", "sdpa")
    given = ITEMS if collator is Collator else [ITEMS[:3], ITEMS[3:]]
    batch = collator(tokenizer, FIGURES)(given)  # type: ignore[arg-type]
    batch = {name: value for name, value in batch.items() if name not in {"ids", "tokens"}}
    found = model(**batch)
    assert found.logits.shape == (5, 320)
    assert batch["shift_labels"].tolist() == [9, 12, 9, 3, 19]
    of_all = model(**{**batch, "logits_to_keep": 0, "shift_labels": None})
    assert of_all.logits.shape[:2] == batch["input_ids"].shape
    assert found.loss.item() == pytest.approx(of_all.loss.item(), rel=1e-5)
    found.loss.backward()
    cut = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    of_all.loss.backward()
    whole = [p.grad for p in model.parameters() if p.grad is not None]
    assert max((a - b).abs().max().item() for a, b in zip(cut, whole, strict=True)) < 1e-5


def test_a_moved_mixture_is_still_read(album: Path, tokenizer: Any, tmp_path: Path) -> None:
    shutil.copytree(album, tmp_path / "moved")
    data = dataset(tmp_path / "moved", tokenizer, shelf_of(album))
    assert data.item(0)["id"] == dataset(album, tokenizer).item(0)["id"]
