"""Properties of the devices and processes of a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import TrainingArguments
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from imp_data.errors import UserError
from imp_data.manifests.model import StageName


def is_distributed() -> bool:
    """Return whether this process is one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Return whether this is the first or only process that torchrun or accelerate launched."""
    return os.environ.get("RANK", "0") == "0"


def check_precision(name: StageName, precision: str) -> None:
    """Raise UserError if this machine's devices do not support a stage's precision."""
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
def unpartitioned_weights(args: TrainingArguments) -> Iterator[None]:
    """Build a network with complete weights in this block, even if ZeRO 3 will partition it.

    With DeepSpeed's settings, transformers partitions each module on creation, and its
    initialization of a vision tower does not support partitioned weights.
    """
    settings = getattr(args, "hf_deepspeed_config", None)
    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if settings is not None:
            set_hf_deepspeed_config(settings)
