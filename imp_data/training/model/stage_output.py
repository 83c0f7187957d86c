"""What a finished stage leaves: LoRA in peft's format, projector, tokenizer, processor, imp.json.

`projector.safetensors` holds the projector; `whole.safetensors`, where there is one, the other
parts that this stage or the one before trained whole. Together with the pretrained weights that
the manifest names, or its seed, they are the model.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer, LlavaForConditionalGeneration, PreTrainedTokenizerBase

from imp_data.errors import UserError
from imp_data.manifests.model import Lora, Model, StageName
from imp_data.storage.atomic_write import json_text, write_text, written_aside
from imp_data.training.model.architecture import build
from imp_data.training.model.lora import is_projector, lora_config
from imp_data.training.model.model_card import CARD
from imp_data.training.model.model_folder import FACTS, described, facts_of, is_ours, save_processor

PROJECTOR, WHOLE = "projector.safetensors", "whole.safetensors"
_ADAPTER = "adapter_model.safetensors"


def write_stage_output(
    folder: Path,
    model: Model,
    stage: StageName,
    tokenizer: PreTrainedTokenizerBase,
    jinja: str,
    weights: Mapping[str, torch.Tensor],
    facts: Mapping[str, Any],
    card: str | None = None,
) -> None:
    """Write the folder, whole or not at all; `weights` is all that was trained so far, by name.

    `card` is its README.md.
    """
    lora = dict(model.planned)[stage].lora
    with written_aside(folder, FACTS, ours=is_ours) as aside:
        aside.mkdir()
        split = _split(weights)
        save_file(split[PROJECTOR], aside / PROJECTOR)
        if split[WHOLE]:
            save_file(split[WHOLE], aside / WHOLE)
        if lora:
            _adapter_config(model, lora).save_pretrained(aside)
            save_file(split[_ADAPTER], aside / _ADAPTER, metadata={"format": "pt"})
        save_processor(model, tokenizer, jinja, aside)
        if card is not None:
            write_text(aside / CARD, card)
        said = {**described(model), **facts, "stage": stage, "manifest": model.model_dump()}
        write_text(aside / FACTS, json_text(said))


def _adapter_config(model: Model, lora: Lora) -> LoraConfig:
    """peft's, as the original leaves it: the base that it names is the language model.

    A model that began at random stands beside nothing that has a name.
    """
    config, weights = lora_config(lora), model.language_model.weights
    config.base_model_name_or_path = weights and (weights.hub or weights.folder)
    config.revision = weights and weights.revision
    config.task_type = "CAUSAL_LM"
    config.inference_mode = True
    return config


def restore(folder: Path, dtype: torch.dtype = torch.float32) -> "Restored":
    """The model as a stage left it, LoRA still apart.

    Raises UserError where the folder is none, or pretrained weights that it needs are not there.
    """
    facts = facts_of(folder)
    if "manifest" not in facts:
        raise UserError(folder, "is no stage of a run", "name the folder that `train` wrote")
    try:
        model = Model.model_validate(facts["manifest"])
    except ValidationError as error:
        why = "; ".join(one["msg"] for one in error.errors()[:3])
        problem = f"its manifest is not one of a model ({why})"
        raise UserError(folder / FACTS, problem, "name the folder that `train` wrote") from None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = build(model, tokenizer, model.seed, dtype)
    lay(network, earlier_weights(folder))
    if (folder / _ADAPTER).exists():
        with warnings.catch_warnings():
            # As in lora.py.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
            adapted = PeftModel.from_pretrained(network, folder)
        return Restored(model, tokenizer, adapted, facts)
    return Restored(model, tokenizer, network, facts)


class Restored:
    """A model with what belongs to it; `network` is peft's where there is LoRA."""

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerBase,
        network: nn.Module,
        facts: dict[str, Any],
    ) -> None:
        self.model, self.tokenizer, self.network, self.facts = model, tokenizer, network, facts

    def merged(self) -> LlavaForConditionalGeneration:
        """The plain network, LoRA added to the weights it stands beside."""
        if isinstance(self.network, PeftModel):
            self.network = self.network.merge_and_unload()
        return self.network


def earlier_weights(folder: Path) -> dict[str, torch.Tensor]:
    """What a stage and those before it trained whole, by name."""
    weights = load_file(folder / PROJECTOR)
    return weights | (load_file(folder / WHOLE) if (folder / WHOLE).exists() else {})


def lay(network: LlavaForConditionalGeneration, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights in their places, in the type that the network has there."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)


def _split(weights: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """By the file they belong in; LoRA under the names that peft gives in its files."""
    files: dict[str, dict[str, torch.Tensor]] = {PROJECTOR: {}, WHOLE: {}, _ADAPTER: {}}
    for name, weight in weights.items():
        if ".lora_" in name:
            files[_ADAPTER]["base_model.model." + name.replace(".default.", ".")] = weight
        else:
            files[PROJECTOR if is_projector(name) else WHOLE][name] = weight
    return files
