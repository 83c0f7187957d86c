"""Which weights a stage trains: LoRA beside the decoder's Linears, and the parts trained whole."""

import re
import warnings
from collections.abc import Iterator

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import LlavaForConditionalGeneration

from imp_data.manifests.model import Lora, Part, Stage

_PARTS: dict[Part, str] = {
    "projector": r"model\.multi_modal_projector\.",
    "vision_tower": r"model\.vision_tower\.",
    "language_model": r"(model\.language_model|lm_head)\.",
}
_PROJECTOR = ".multi_modal_projector."


def attach(network: LlavaForConditionalGeneration, stage: Stage) -> nn.Module:
    """The network as the stage trains it: all else is frozen; what is trained is float32.

    LoRA begins at random by the stage's seed, whatever was drawn before.
    """
    network.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.seed)
        trained = _adapted(network, stage.lora) if stage.lora else network
    wanted = re.compile("|".join(_PARTS[part] for part in stage.trains))
    unused = re.compile(unused_in_tower(network))
    for name, parameter in network.named_parameters():
        if wanted.match(name) and "lora_" not in name:
            parameter.data = parameter.data.to(torch.float32)
            parameter.requires_grad_(not unused.match(name))
    return trained


def _adapted(network: LlavaForConditionalGeneration, lora: Lora) -> PeftModel:
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.23 by a name that is on its way out.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
        return get_peft_model(network, lora_config(lora))


def lora_config(lora: Lora) -> LoraConfig:
    """peft's configuration: the named Linears of the decoder and its head, and no others."""
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=target_pattern(lora),
    )


def target_pattern(lora: Lora) -> str:
    """A regular expression on whole names of modules; SigLIP has a q_proj and an fc1 as well."""
    inner = "|".join(sorted(set(lora.targets) - {"lm_head"}))
    head = "|lm_head" if "lm_head" in lora.targets else ""
    return rf"model\.language_model\..*\.(?:{inner}){head}"


def unused_in_tower(network: LlavaForConditionalGeneration) -> str:
    """A pattern of the tower's weights behind the layer that is read: no gradient reaches them."""
    last = network.config.vision_config.num_hidden_layers - 1
    return rf"model\.vision_tower\.(encoder\.layers\.{last}|post_layernorm)\."


def plain(network: nn.Module) -> LlavaForConditionalGeneration:
    """The network below peft's wrapping."""
    return network.get_base_model() if isinstance(network, PeftModel) else network


def trained(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters that are trained, by the names of the network that is wrapped."""
    return ((n, p) for n, p in plain(network).named_parameters() if p.requires_grad)


def is_projector(name: str) -> bool:
    """Is that parameter the projector's, by any of its names?"""
    return _PROJECTOR in f".{name}"
