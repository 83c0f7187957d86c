"""Load a pretrained decoder and SigLIP tower from a folder or a commit on the Hub."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from imp_data.errors import UserError
from imp_data.manifests.model import Model
from imp_data.manifests.model_parts import TextConfig, Weights


@dataclasses.dataclass(frozen=True)
class Decoder:
    """transformers' classes of an architecture."""

    config: type[Any]
    model: type[Any]
    norm: str
    """The name of `norm_eps` in its configuration."""
    activation: str
    """The activation's name in transformers."""


DECODERS = {
    # The default `gelu_new` computes the same in seven kernels instead of one.
    "phi": Decoder(PhiConfig, PhiForCausalLM, "layer_norm_eps", "gelu_pytorch_tanh"),
    "qwen2": Decoder(Qwen2Config, Qwen2ForCausalLM, "rms_norm_eps", "silu"),
    "phi3": Decoder(Phi3Config, Phi3ForCausalLM, "rms_norm_eps", "silu"),
}
# The manifest may differ from the weights in these fields: no tensor depends on them.
_FREE_FIELDS = {"max_position_embeddings"}


def vision_config(model: Model, image_size: int) -> SiglipVisionConfig:
    """Return the tower's configuration for images of that side."""
    shape = model.vision_tower.config.model_dump(exclude={"pretrained_image_size"})
    return SiglipVisionConfig(
        **shape, image_size=image_size, hidden_act="gelu_pytorch_tanh", vision_use_head=False
    )


def load_decoder(model: Model, config: Any, dtype: torch.dtype) -> Any:
    """Load the decoder with its head. Raise UserError if the weights have another shape."""
    weights = model.language_model.weights
    assert weights is not None
    decoder = DECODERS[model.language_model.architecture]
    place = f"{model.name}, language_model"
    with _loading_errors(place, weights):
        theirs = AutoConfig.from_pretrained(
            weights.hub or weights.folder, revision=weights.revision
        )
        _check_shape(place, config, theirs, model.language_model.config, decoder.norm)
        loaded, report = decoder.model.from_pretrained(
            weights.hub or weights.folder,
            revision=weights.revision,
            config=config,
            dtype=dtype,
            output_loading_info=True,
        )
    _check_complete(place, weights, report)
    return loaded


def load_vision_tower(model: Model, dtype: torch.dtype) -> SiglipVisionModel:
    """Load the vision tower, resized to the manifest's image size."""
    weights = model.vision_tower.weights
    assert weights is not None
    place = f"{model.name}, vision_tower"
    pretrained = model.vision_tower.config.pretrained_image_size
    config = vision_config(model, pretrained)
    with _loading_errors(place, weights):
        tower, report = SiglipVisionModel.from_pretrained(
            weights.hub or weights.folder,
            revision=weights.revision,
            config=config,
            dtype=dtype,
            output_loading_info=True,
        )
    _check_complete(place, weights, report)
    if model.image_size != pretrained:
        resize_positions(tower, model.image_size)
    return tower


def resize_positions(tower: SiglipVisionModel, image_size: int) -> None:
    """Resize the tower to images of another side by bicubic interpolation of its positions.

    transformers' interpolate_pos_encoding does the same.
    """
    embeddings = tower.embeddings
    table = embeddings.position_embedding.weight
    side, new_side = round(len(table) ** 0.5), image_size // embeddings.patch_size
    grid = table.detach().float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = nn.functional.interpolate(
        grid, size=(new_side, new_side), mode="bicubic", align_corners=False
    )
    rows = resized.permute(0, 2, 3, 1).reshape(new_side**2, -1).to(table.dtype)
    embeddings.position_embedding = nn.Embedding.from_pretrained(rows, freeze=False)
    embeddings.position_ids = torch.arange(new_side**2).expand((1, -1))
    embeddings.image_size = tower.config.image_size = image_size
    embeddings.num_patches = embeddings.num_positions = new_side**2


@contextmanager
def _loading_errors(place: str, weights: Weights) -> Iterator[None]:
    if weights.folder and not (Path(weights.folder) / "config.json").is_file():
        raise UserError(
            f"{place}.weights.folder",
            f"{weights.folder} holds no weights (no config.json)",
            "copy the pretrained weights there, or name another folder or a Hub repository",
        )
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        source = weights.folder or f"{weights.hub} at {weights.revision}"
        raise UserError(
            f"{place}.weights",
            f"{source} cannot be loaded: {str(error).strip()}",
            "check the network or the folder, and that `config` matches the weights; a repository "
            "that was downloaded before is in HF_HOME and needs no network",
        ) from error


def _check_shape(place: str, ours: Any, theirs: Any, stated: TextConfig, norm: str) -> None:
    """Raise UserError if the manifest's figures differ from those of its weights."""
    names = [n for n in type(stated).model_fields if n in stated.model_fields_set - _FREE_FIELDS]
    for name in names:
        field = norm if name == "norm_eps" else name
        found = _rope_value(theirs, name) if name in _ROPE else getattr(theirs, field, None)
        wanted = _rope_value(ours, name) if name in _ROPE else getattr(ours, field, None)
        if found != wanted:
            raise UserError(
                f"{place}.config.{name}",
                f"the manifest has {wanted}, the weights have {found}",
                "write the value of the weights into the manifest",
            )


_ROPE = {"rope_theta", "partial_rotary_factor"}


def _rope_value(config: Any, name: str) -> Any:
    return config.rope_parameters.get(name)


def _check_complete(place: str, weights: Weights, report: dict[str, Any]) -> None:
    if missing := sorted(report["missing_keys"]):
        raise UserError(
            f"{place}.weights",
            f"{weights.hub or weights.folder} lacks {len(missing)} tensors (first {missing[0]})",
            "name weights of this architecture",
        )
