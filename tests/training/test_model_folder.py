"""A saved model folder: transformers loads it, and it has the facts for inference."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.images import preprocess
from imp_data.training.model.architecture import build_network
from imp_data.training.model.model_folder import load_network, load_processor, save_model
from tests.training.test_architecture import ARCHITECTURES, randomize, tiny, tokenizer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_loads_with_transformers_own_classes(
    architecture: str, world: World, tmp_path: Path
) -> None:
    m, folder = tiny(world, architecture), tmp_path / "model"
    words = tokenizer(m.template)
    network = randomize(build_network(m, words))
    save_model(network, words, m, TEMPLATES[m.template].jinja, {"mixture": {"digest": "d"}}, folder)
    again = load_network(folder).eval()
    also = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = load_processor(folder)
    image = Image.effect_mandelbrot((50, 30), (-2, -1, 1, 1), 20).convert("RGB")
    inputs = processor(images=image, text="<image>\nWhat is it?", return_tensors="pt")
    with torch.no_grad():
        logits = network(**inputs).logits
        assert torch.equal(logits, again(**inputs).logits)
        assert torch.equal(logits, also(**inputs).logits)
    assert again.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]
    stock = "LlavaForConditionalGeneration"
    assert type(again).__name__ == (
        "ImpForConditionalGeneration" if architecture == "phi" else stock
    )


def test_imp_json_has_the_facts_that_inference_needs(world: World, tmp_path: Path) -> None:
    m, folder, words = tiny(world, "phi"), tmp_path / "model", tokenizer()
    save_model(
        build_network(m, words),
        words,
        m,
        TEMPLATES["phi2"].jinja,
        {"mixture": {"digest": "d"}},
        folder,
    )
    files = {path.name for path in folder.iterdir()}
    assert files == {
        *("config.json", "generation_config.json", "model.safetensors", "modeling_imp.py"),
        *("image_processing_imp.py", "rgb.py"),
        *("tokenizer.json", "tokenizer_config.json", "processor_config.json"),
        *("chat_template.jinja", "imp.json"),
    }
    facts = json.loads((folder / "imp.json").read_text())
    assert facts == {
        "name": "small",
        "title": "A small model",
        "license": "CC0-1.0",
        "architecture": "phi",
        "template": "phi2",
        "image_size": 28,
        "image_tokens": 4,
        "preprocessing": "square",
        "max_length": 256,
        "mixture": {"digest": "d"},
    }


@pytest.mark.parametrize("how", ["square", "pad"])
def test_the_saved_processor_makes_the_pixels_of_training(
    how: Any, world: World, tmp_path: Path
) -> None:
    m, folder, words = (
        tiny(world, "qwen2", image_preprocessing=how),
        tmp_path / "m",
        tokenizer("qwen"),
    )
    save_model(build_network(m, words), words, m, TEMPLATES["qwen"].jinja, {}, folder)
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    image = Image.effect_mandelbrot((90, 40), (-2, -1, 1, 1), 20).convert("RGB")
    found = processor(images=image, text="<image>", return_tensors="pt")["pixel_values"][0]
    assert torch.equal(found, torch.from_numpy(preprocess(image, 28, how)))
