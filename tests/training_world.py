"""A small world for training tests: images of one coloured shape with a question, a tiny model."""

from pathlib import Path
from typing import Any

import yaml
from conftest import World, encoded, run
from PIL import Image, ImageDraw

from imp_data.manifests.model import Model, load_model

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 220, 60),
}
QUESTION = "What colour is the shape?"

MODEL: dict[str, Any] = {
    "name": "small",
    "title": "A small model",
    "license": "CC0-1.0",
    "language_model": {
        "architecture": "phi",
        "config": {
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 256,
            "partial_rotary_factor": 0.5,
            "norm_eps": 1e-5,
        },
    },
    "vision_tower": {
        "config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 14,
            "pretrained_image_size": 28,
        }
    },
    "tokenizer": {"vocab_size": 320},
    "image_size": 28,
    "image_preprocessing": "square",
    "template": "phi2",
    "max_length": 256,
}
STAGE: dict[str, Any] = {
    "mixture": "small",
    "sampler": "modality_length",
    "trains": ["projector"],
    "epochs": 1,
    "global_batch": 4,
    "per_device_batch": 2,
    "learning_rate": 0.002,
    "warmup_ratio": 0.03,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "precision": "fp32",
    "gradient_checkpointing": False,
    "seed": 1,
    "save_steps": 2,
    "keep_checkpoints": 2,
}
WHOLE = {
    "trains": ["projector", "vision_tower", "language_model"],
    "because": "Nothing is pretrained.",
}
LORA = {
    "r": 4,
    "alpha": 4,
    "dropout": 0.05,
    "targets": ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2", "lm_head"],
}
STAGES = {"projector": {**STAGE, **WHOLE}, "adapter": {**STAGE, "lora": LORA}}


def shape(colour: tuple[int, int, int], seed: int, side: int = 64) -> Image.Image:
    """Draw a square or a circle of that colour on a grey background."""
    image = Image.new("RGB", (side, side), (128, 128, 128))
    left, top, size = 4 + seed * 7 % 24, 4 + seed * 11 % 24, 24 + seed * 5 % 12
    draw = ImageDraw.Draw(image)
    box = (left, top, left + size, top + size)
    (draw.rectangle if seed % 2 else draw.ellipse)(box, fill=colour)
    return image


def build_shapes(world: World, count: int, talks: int = 2) -> Path:
    """Build a mixture of images, and of conversations without one; return its folder."""
    names = list(COLOURS)
    files = {f"{n}.png": encoded(shape(COLOURS[names[n % 4]], n)) for n in range(count)}
    world.images("shapes", files, path="shapes")
    records = [
        {
            "id": n,
            "image": f"shapes/{n}.png",
            "conversations": [
                {"from": "human", "value": f"<image>\n{QUESTION}"},
                {"from": "gpt", "value": names[n % 4]},
            ],
        }
        for n in range(count)
    ]
    records += [
        {
            "id": f"talk{n}",
            "conversations": [
                {"from": "human", "value": f"Say {n}."},
                {"from": "gpt", "value": f"It is {n}."},
            ],
        }
        for n in range(talks)
    ]
    world.source("shapes", records, images=["shapes"])
    run(world.build({"shapes": count + talks}))
    return world.data.mixture("small")


def manifest(world: World, stages: dict[str, Any] = STAGES, **fields: Any) -> Path:
    """Write the manifest of a tiny model."""
    path = world.manifests / "models" / "small.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**MODEL, "stages": stages, **fields}), encoding="utf-8")
    return path


def model(world: World, stages: dict[str, Any] = STAGES, **fields: Any) -> Model:
    """Write the manifest of a tiny model, and load it."""
    return load_model(manifest(world, stages, **fields))
