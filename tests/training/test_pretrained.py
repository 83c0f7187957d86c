"""Pretrained parts: loaded from a folder, resized, and errors that name the field."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World
from transformers import (
    Phi3ForCausalLM,
    PhiForCausalLM,
    Qwen2ForCausalLM,
    SiglipConfig,
    SiglipModel,
)

from imp_data.errors import UserError
from imp_data.manifests.model import Model
from imp_data.training.model.architecture import build_network
from imp_data.training.model.pretrained import resize_positions
from tests.training.test_architecture import ARCHITECTURES, TEMPLATE_OF, randomize, tiny, tokenizer


def write_weights(world: World, architecture: str, folder: Path) -> tuple[Any, Any]:
    """Write pretrained parts in their publishers' layout: a decoder, and all of SigLIP."""
    whole = randomize(
        build_network(tiny(world, architecture), tokenizer(TEMPLATE_OF[architecture]), seed=9)
    )
    kinds = {"phi": PhiForCausalLM, "qwen2": Qwen2ForCausalLM, "phi3": Phi3ForCausalLM}
    decoder = kinds[architecture](whole.config.text_config)
    decoder.model, decoder.lm_head = whole.model.language_model, whole.lm_head
    decoder.save_pretrained(folder / "decoder")
    config = SiglipConfig(vision_config=whole.config.vision_config.to_dict())
    config.vision_config.vision_use_head = True
    config.text_config.num_hidden_layers = 1
    siglip = randomize(SiglipModel(config))
    siglip.save_pretrained(folder / "siglip")
    return whole, siglip


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pretrained_weights_load_from_a_folder(
    architecture: str, world: World, tmp_path: Path
) -> None:
    whole, siglip = write_weights(world, architecture, tmp_path)
    m = tiny(world, architecture)
    words = tokenizer(m.template)
    pretrained = with_weights(m, tmp_path / "decoder", tmp_path / "siglip")
    network = build_network(pretrained, words).eval()
    text = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(network(input_ids=text).logits, whole(input_ids=text).logits)
        pixels = torch.rand(1, 3, 28, 28)
        found = network.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2]
        theirs = siglip.vision_model(pixels, output_hidden_states=True).hidden_states[-2]
        assert torch.equal(found, theirs)


def with_weights(m: Model, decoder: Path, siglip: Path) -> Model:
    content = m.model_dump(mode="json")
    content["language_model"]["weights"] = {"folder": str(decoder)}
    content["vision_tower"]["weights"] = {"folder": str(siglip)}
    return Model.model_validate_json(json.dumps(content))


def test_positions_of_a_larger_tower_are_resized_for_smaller_images(world: World) -> None:
    m = tiny(world, "phi", image_size=84, max_length=300)
    vision = build_network(m, tokenizer()).model.vision_tower.eval()
    randomize(vision)
    embeddings, pixels = vision.embeddings, torch.rand(1, 3, 42, 42)
    with torch.no_grad():
        expected = embeddings(pixels, interpolate_pos_encoding=True)
        resize_positions(vision, 42)
        assert (vision.embeddings(pixels) - expected).abs().max() < 1e-5
    assert vision.config.image_size == 42


def test_missing_pretrained_weights_are_named(world: World, tmp_path: Path) -> None:
    m = with_weights(tiny(world, "phi"), tmp_path / "none", tmp_path / "none")
    with pytest.raises(UserError, match=r"vision_tower\.weights\.folder: .*none holds no weights"):
        build_network(m, tokenizer())


@pytest.mark.slow
def test_pretrained_weights_of_another_shape_name_the_field(world: World, tmp_path: Path) -> None:
    write_weights(world, "phi", tmp_path)
    m = with_weights(tiny(world, "phi"), tmp_path / "decoder", tmp_path / "siglip")
    config = m.language_model.config.model_copy(update={"rope_theta": 5e5})
    language = m.language_model.model_copy(update={"config": config})
    with pytest.raises(UserError, match=r"config\.rope_theta: the manifest has 500000\.0, the we"):
        build_network(m.model_copy(update={"language_model": language}), tokenizer())
