"""Open a merged model as the trainer saves it: configuration, tensors and provenance."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imp_data.errors import UserError
from imp_data.mobile.gguf.model_config import read_model_config
from imp_data.mobile.gguf.weights import StoredTensor, read_stored_tensors
from imp_data.storage.json_files import MOST_BYTES, read_json_object
from imp_data.storage.small_files import read_small

ARCHITECTURES = {"phi": "phi2", "qwen2": "qwen2", "phi3": "phi3"}
# Prefixes that save_pretrained of the stock class and of a subclass write, and names in memory.
_PARTS = (
    (re.compile(r"^(?:model\.)?(?:language_model\.)?lm_head\."), "lm_head."),
    (re.compile(r"^(?:model\.)?language_model\.(?:model\.)?"), "text."),
    (re.compile(r"^(?:model\.)?vision_tower\.(?:vision_model\.)?"), "vision."),
    (re.compile(r"^(?:model\.)?multi_modal_projector\."), "projector."),
)
_LORA = re.compile(r"\.(lora_[AB]|lora_embedding_[AB]|base_layer|lora_magnitude_vector)\b")
_VISION_TARGET = re.compile(r"vision_tower|vision_model|out_proj")
_WRITE_AGAIN = "write the file as the trainer does"
_MERGE_FIRST = "merge the adapter into the model (imp-data merge), then export the merged model"


class MixtureProvenance(BaseModel):
    """The mixture that a model was trained on, as recorded in imp.json."""

    model_config = ConfigDict(extra="ignore")

    digest: str


class Provenance(BaseModel):
    """imp.json beside the weights: the model's name and training data."""

    model_config = ConfigDict(extra="ignore")

    name: str = "imp"
    template: str | None = None
    preprocessing: Literal["square", "pad"] = "square"
    mixture: MixtureProvenance | None = None
    license: str | None = None

    @property
    def mixture_digest(self) -> str | None:
        """The root digest of the mixture's files."""
        return self.mixture.digest if self.mixture else None


@dataclass(frozen=True)
class Checkpoint:
    """An opened model folder, with tensor names that do not depend on how it was saved."""

    folder: Path
    config: dict[str, Any]
    provenance: Provenance
    tensors: dict[str, StoredTensor]

    @property
    def architecture(self) -> str:
        """Name of the language model's architecture in llama.cpp."""
        return ARCHITECTURES[self.config["text_config"]["model_type"]]

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that the vision tower was trained on."""
        return int(self.config["vision_config"]["image_size"])

    @property
    def feature_layers(self) -> int:
        """Number of tower layers that run before features are taken (26 of SigLIP's 27)."""
        chosen = self.config["vision_feature_layer"]
        layers = int(self.config["vision_config"]["num_hidden_layers"])
        if not isinstance(chosen, int) or not -layers <= chosen <= layers or chosen == 0:
            problem = f"vision_feature_layer is {chosen!r}"
            raise UserError(self.folder / "config.json", problem, "set it to a layer, such as -2")
        return chosen if chosen > 0 else layers + 1 + chosen

    def take(self, names: list[str]) -> list[StoredTensor]:
        """Return the tensors of these names. Raise UserError that names all missing ones."""
        if missing := [name for name in names if name not in self.tensors]:
            listed = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" * (len(missing) > 8))
            problem = f"lacks {len(missing)} of the tensors that its config.json requires: {listed}"
            raise UserError(self.folder, problem, "save the whole model again, with every shard")
        return [self.tensors[name] for name in names]


def load_checkpoint(folder: Path) -> Checkpoint:
    """Open a model folder. Raise UserError if it cannot be exported faithfully."""
    config = _config(folder)
    _refuse_adapters(folder)
    stored = read_stored_tensors(folder)
    _refuse_lora_tensors(folder, stored)
    if not stored:
        problem = "contains no *.safetensors files"
        raise UserError(folder, problem, "save the model with save_pretrained")
    tensors = {canonical_name(name): tensor for name, tensor in stored.items()}
    return Checkpoint(folder, config, _provenance(folder), tensors)


def canonical_name(name: str) -> str:
    """Return a tensor's name independent of the saving class: text.…, lm_head.…, vision.…, …"""
    for pattern, part in _PARTS:
        if found := pattern.match(name):
            return part + name[found.end() :]
    return name


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        if (folder / "adapter_config.json").exists():
            raise UserError(folder, "is an adapter, not a merged model", _MERGE_FIRST)
        remedy = "give the folder that save_pretrained wrote"
        raise UserError(path, "does not exist", remedy)
    config = read_model_config(path)
    text, vision = config["text_config"], config["vision_config"]
    kind = text.get("model_type")
    if config.get("model_type") not in {"llava", "imp"} or kind not in ARCHITECTURES:
        problem = f"model_type {config.get('model_type')!r} with language model {kind!r} is unknown"
        known = ", ".join(ARCHITECTURES)
        remedy = f"export a model of imp-data, whose text_config is one of {known}"
        raise UserError(path, problem, remedy)
    if vision.get("model_type") != "siglip_vision_model":
        problem = f"vision tower {vision.get('model_type')!r} is unknown"
        raise UserError(path, problem, "export a model whose vision tower is SigLIP")
    return config


def _refuse_adapters(folder: Path) -> None:
    """Raise UserError for an adapter beside the weights, which would be missing in the export.

    llama.cpp cannot apply an adapter of a vision tower at all.
    """
    path = folder / "adapter_config.json"
    if not path.exists():
        return
    adapter = read_json_object(path, _MERGE_FIRST)
    targets = adapter.get("target_modules") or []
    targets = [targets] if isinstance(targets, str) else targets
    _refuse(path, any(_VISION_TARGET.search(str(target)) for target in targets))


def _refuse_lora_tensors(folder: Path, stored: dict[str, StoredTensor]) -> None:
    if lora := [name for name in stored if _LORA.search(name)]:
        _refuse(stored[lora[0]].file, any("vision" in name for name in lora))


def _refuse(where: Path, in_vision: bool) -> None:
    if in_vision:
        problem = "contains a LoRA of the vision tower, which llama.cpp would silently ignore"
    else:
        problem = "contains an adapter that is not merged into the model"
    raise UserError(where, problem, _MERGE_FIRST)


def _provenance(folder: Path) -> Provenance:
    path = folder / "imp.json"
    if not path.exists():
        return Provenance()
    try:
        return Provenance.model_validate_json(read_small(path, MOST_BYTES, _WRITE_AGAIN))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        problem = f"{field}: {first['msg']}"
        raise UserError(path, problem, _WRITE_AGAIN) from error
