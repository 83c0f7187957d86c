"""The collators: padded batches, packed rows, and their logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install 'imp-data[train]'")
pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
import transformers

from imp_data.training.data.collator import Collator, PackedCollator
from imp_data.training.data.dataset import Item
from tests.training.test_dataset import FIGURES, tokenizer

__all__ = ["tokenizer"]


def item(ids: Sequence[int], learned: int, image: float | None = None) -> Item:
    """Return an item whose last `learned` tokens are learned, with an image of one level."""
    labels = [-100] * (len(ids) - learned) + list(ids[len(ids) - learned :])
    pixels = None if image is None else np.full((1, 3, 28, 28), image, np.float32)
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
