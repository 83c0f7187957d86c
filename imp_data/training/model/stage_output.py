"""The output of a finished stage: LoRA in peft's format, projector, tokenizer, processor, imp.json.

`projector.safetensors` holds the projector. `whole.safetensors`, if present, holds the other parts
that this or the previous stage trained completely. With the pretrained weights that the manifest
names, or its seed, they define the model.
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
from imp_data.storage.atomic_write import json_text, write_atomically, write_text
from imp_data.training.model.architecture import build_network
from imp_data.training.model.lora import is_projector, lora_config
from imp_data.training.model.model_card import CARD
from imp_data.training.model.model_folder import (
    FACTS,
    is_model_file,
    model_facts,
    read_facts,
    save_processor,
)

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
    """Write the folder atomically; `weights` are all trained weights so far, by name.

    `card` becomes README.md.
    """
    lora = dict(model.planned)[stage].lora
    with write_atomically(folder, FACTS, ours=is_model_file) as aside:
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
        known = {**model_facts(model), **facts, "stage": stage, "manifest": model.model_dump()}
        write_text(aside / FACTS, json_text(known))


def _adapter_config(model: Model, lora: Lora) -> LoraConfig:
    """Return peft's configuration as in the original, with the language model as its base model.

    A randomly initialized model has no base model.
    """
    config, weights = lora_config(lora), model.language_model.weights
    config.base_model_name_or_path = weights and (weights.hub or weights.folder)
    config.revision = weights and weights.revision
    config.task_type = "CAUSAL_LM"
    config.inference_mode = True
    return config


def restore_model(folder: Path, dtype: torch.dtype = torch.float32) -> "RestoredModel":
    """Load the model from a stage's output, with LoRA not yet merged.

    Raise UserError if the folder is no stage's output, or its pretrained weights are missing.
    """
    facts = read_facts(folder)
    if "manifest" not in facts:
        raise UserError(folder, "is no stage of a run", "name a folder that `imp-data train` wrote")
    try:
        model = Model.model_validate(facts["manifest"])
    except ValidationError as error:
        why = "; ".join(one["msg"] for one in error.errors()[:3])
        problem = f"its manifest is not valid ({why})"
        remedy = "name a folder that `imp-data train` wrote"
        raise UserError(folder / FACTS, problem, remedy) from None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = build_network(model, tokenizer, model.seed, dtype)
    copy_weights(network, load_full_weights(folder))
    if (folder / _ADAPTER).exists():
        with warnings.catch_warnings():
            # peft uses a deprecated name, as in lora.py.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
            adapted = PeftModel.from_pretrained(network, folder)
        return RestoredModel(model, tokenizer, adapted, facts)
    return RestoredModel(model, tokenizer, network, facts)


class RestoredModel:
    """A loaded model with its tokenizer and facts; `network` is a PeftModel if it has LoRA."""

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerBase,
        network: nn.Module,
        facts: dict[str, Any],
    ) -> None:
        self.model, self.tokenizer, self.network, self.facts = model, tokenizer, network, facts

    def merged(self) -> LlavaForConditionalGeneration:
        """Return the network without peft's wrapper, with LoRA merged into its weights."""
        if isinstance(self.network, PeftModel):
            self.network = self.network.merge_and_unload()
        return self.network


def load_full_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Load the weights of the parts that a stage and the previous ones trained, by name."""
    weights = load_file(folder / PROJECTOR)
    return weights | (load_file(folder / WHOLE) if (folder / WHOLE).exists() else {})


def copy_weights(
    network: LlavaForConditionalGeneration, weights: Mapping[str, torch.Tensor]
) -> None:
    """Copy weights into the network's parameters of the same names, in their types."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)


def _split(weights: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """Group weights by file; rename LoRA weights to peft's names."""
    files: dict[str, dict[str, torch.Tensor]] = {PROJECTOR: {}, WHOLE: {}, _ADAPTER: {}}
    for name, weight in weights.items():
        if ".lora_" in name:
            files[_ADAPTER]["base_model.model." + name.replace(".default.", ".")] = weight
        else:
            files[PROJECTOR if is_projector(name) else WHOLE][name] = weight
    return files
