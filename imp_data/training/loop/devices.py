"""What a run must know of the devices that it is on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import TrainingArguments
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from imp_data.errors import UserError
from imp_data.manifests.model import StageName


def several() -> bool:
    """Whether this process is one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the first, or only, of those that torchrun or accelerate launched."""
    return os.environ.get("RANK", "0") == "0"


def check_precision(name: StageName, precision: str) -> None:
    """UserError where this machine's devices cannot do a stage's precision."""
    where = f"stages.{name}.precision"
    if precision == "fp16" and not torch.cuda.is_available():
        raise UserError(where, "fp16 needs a GPU", "write bf16 or fp32 into the manifest")
    if (
        precision == "bf16"
        and torch.cuda.is_available()
        and not torch.cuda.is_bf16_supported(False)
    ):
        raise UserError(where, "this GPU has no bf16", "write fp16 into the manifest")


@contextmanager
def whole_weights(args: TrainingArguments) -> Iterator[None]:
    """In the block a network is built whole also where ZeRO 3 will cut it.

    transformers takes the settings for a wish to cut each part as it is made, and its own
    initialisation of a vision tower does not know such parts.
    """
    settings = getattr(args, "hf_deepspeed_config", None)
    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if settings is not None:
            set_hf_deepspeed_config(settings)
