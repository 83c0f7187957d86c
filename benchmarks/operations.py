"""Floating point operations that a step of stage 2 needs, and that an order of samples makes of it.

An addition and a multiplication are two. What a model needs is counted as in PaLM, appendix B
(arXiv:2204.02311): 2 a weight and token forward, 4 backward, of attention 12 x width x length a
token and layer, whether causal or not, and no recomputation. Four things are less, or else, here:

* A frozen weight has no gradient of its own: 2 forward, 2 backward (that of its input). LoRA's
  matrices and the projector's second layer have 6; its first, whose input needs no gradient, 4.
* The head is needed where a token is learned, and nowhere else.
* The vision tower runs forward alone, and its last layer is not read: 2 a weight of all but that.
* A length is a sample's own: what is computed on padding, or between packed samples, is no need.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Cost(NamedTuple):
    """Of a step on a sample of n tokens, m of them learned, and of its image:
    linear x n + squared x n² + head x m + image."""

    linear: int
    squared: int
    head: int
    image: int

    def needed(self, lengths: Any, learned: Any) -> float:
        """By samples of these lengths, which are negative where there is no image."""
        sizes = np.abs(lengths).astype(np.float64)
        body = self.linear * sizes.sum() + self.squared * (sizes**2).sum()
        return float(body + self.head * learned.sum() + self.image * (lengths > 0).sum())

    def computed(self, widths: Iterable[Sequence[int]], heads: int, images: int) -> float:
        """By batches of rows of these widths, each row as wide as its batch's widest; `heads`
        tokens go through the head, all if it is 0."""
        each = [(len(some), max(some)) for some in widths]
        rows = sum(count * (self.linear * width + self.squared * width**2) for count, width in each)
        tokens = heads or sum(count * width for count, width in each)
        return float(rows + self.head * tokens + self.image * images)


def cost_of(network: Any) -> Cost:
    """Of a network as `lora.attach` returns it; one on the device `meta` will do."""
    from imp_data.training.model.lora import unwrap_peft

    base = unwrap_peft(network)
    text, vision = base.config.text_config, base.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    decoder = {n: p for n, p in base.named_parameters() if _in_decoder(n) and p.ndim == 2}
    each = {name: (6 if p.requires_grad else 4) * p.numel() for name, p in decoder.items()}
    head = sum(count for name, count in each.items() if "lm_head" in name)
    read = vision.num_hidden_layers - 1
    unread = f"encoder.layers.{read}."
    tower = sum(
        parameter.numel()
        for name, parameter in base.named_parameters()
        if "vision_tower" in name
        and parameter.ndim > 1
        and unread not in name
        and "position_embedding" not in name
    )
    first, second = (
        parameter.numel()
        for name, parameter in base.named_parameters()
        if "multi_modal_projector" in name and parameter.ndim == 2
    )
    attention = 4 * read * vision.hidden_size * patches
    return Cost(
        linear=sum(each.values()) - head,
        squared=12 * text.num_hidden_layers * text.hidden_size,
        head=head,
        image=patches * (2 * tower + attention + 4 * first + 6 * second),
    )


def _in_decoder(name: str) -> bool:
    return ("language_model" in name or "lm_head" in name) and "embed_tokens" not in name


# Dense bf16 and fp16, without sparsity, in operations a second: the vendor's data sheets.
PEAKS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165.2e12}


def peak_of(device: str) -> float | None:
    """What the data sheet says of a GPU, by its name; PCIe cards of these names reach less."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def matrix_rate(precision: str) -> float:
    """Operations a second of one large matrix product on this device, seen."""
    import time

    import torch

    on_gpu = torch.cuda.is_available()
    side = 8192 if on_gpu else 2048
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    one = torch.randn(side, side, dtype=kind, device="cuda" if on_gpu else "cpu")
    seconds = []
    for _ in range(6):
        begun = time.perf_counter()
        one @ one
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return float(2 * side**3 / min(seconds))
