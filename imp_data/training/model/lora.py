"""Select the weights that a stage trains: LoRA on the decoder's Linears, and complete parts."""

import re
import warnings
from collections.abc import Iterator

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import LlavaForConditionalGeneration

from imp_data.manifests.model import Lora, Stage, TrainablePart

_PARTS: dict[TrainablePart, str] = {
    "projector": r"model\.multi_modal_projector\.",
    "vision_tower": r"model\.vision_tower\.",
    "language_model": r"(model\.language_model|lm_head)\.",
}
_PROJECTOR = ".multi_modal_projector."


def make_trainable(network: LlavaForConditionalGeneration, stage: Stage) -> nn.Module:
    """Return the network with the stage's trained weights in float32, and all others frozen.

    LoRA's initial weights depend on the stage's seed alone.
    """
    network.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.seed)
        prepared = _add_lora(network, stage.lora) if stage.lora else network
    wanted = re.compile("|".join(_PARTS[part] for part in stage.trains))
    unused = re.compile(unused_tower_pattern(network))
    for name, parameter in network.named_parameters():
        if wanted.match(name) and "lora_" not in name:
            parameter.data = parameter.data.to(torch.float32)
            parameter.requires_grad_(not unused.match(name))
    return prepared


def _add_lora(network: LlavaForConditionalGeneration, lora: Lora) -> PeftModel:
    with warnings.catch_warnings():
        # peft 0.21 uses a name that transformers 5.23 deprecates.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
        return get_peft_model(network, lora_config(lora))


def lora_config(lora: Lora) -> LoraConfig:
    """Return peft's configuration, which targets the named Linears of the decoder and its head."""
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=target_pattern(lora),
    )


def target_pattern(lora: Lora) -> str:
    """Return a pattern of full module names; SigLIP has a q_proj and an fc1 too."""
    inner = "|".join(sorted(set(lora.targets) - {"lm_head"}))
    head = "|lm_head" if "lm_head" in lora.targets else ""
    return rf"model\.language_model\..*\.(?:{inner}){head}"


def unused_tower_pattern(network: LlavaForConditionalGeneration) -> str:
    """Return a pattern of the tower's weights after the feature layer, which get no gradient."""
    last = network.config.vision_config.num_hidden_layers - 1
    return rf"model\.vision_tower\.(encoder\.layers\.{last}|post_layernorm)\."


def unwrap_peft(network: nn.Module) -> LlavaForConditionalGeneration:
    """Return the network without peft's wrapper."""
    return network.get_base_model() if isinstance(network, PeftModel) else network


def trainable_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Return the trained parameters with their names in the network without peft's wrapper."""
    return ((n, p) for n, p in unwrap_peft(network).named_parameters() if p.requires_grad)


def is_projector(name: str) -> bool:
    """Return whether a parameter belongs to the projector, with or without peft's prefix."""
    return _PROJECTOR in f".{name}"
