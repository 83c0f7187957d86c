"""The vision tower and the projector as GGUF, which llama.cpp calls mmproj."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from gguf import GGUFValueType

from imp_data.mobile.gguf.gguf_file import Metadata, Tensor
from imp_data.mobile.gguf.merged_model import Checkpoint
from imp_data.mobile.gguf.position_embedding import interpolate_positions
from imp_data.mobile.gguf.quantize import GgmlType, Precision, type_for_row, vision_matrix_type
from imp_data.mobile.gguf.text_model import general_metadata
from imp_data.mobile.gguf.weights import Floats, StoredTensor

_BLOCK = 32
_LAYER = [
    ("layer_norm1", "ln1"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.out_proj", "attn_out"),
    ("layer_norm2", "ln2"),
    ("mlp.fc1", "ffn_up"),
    ("mlp.fc2", "ffn_down"),
]
_PATCHES = "vision.embeddings.patch_embedding"
_POSITIONS = "vision.embeddings.position_embedding.weight"


def vision_tensors(model: Checkpoint, precision: Precision, size: int) -> list[Tensor]:
    """Tensors for images of `size` pixels: the layers in use, their feed-forward part padded."""
    names = dict(_names(model.feature_layers))
    padded = feed_forward_width(model, precision)
    found = []
    for (source, name), stored in zip(names.items(), model.take(list(names)), strict=True):
        if source == _POSITIONS:
            found.append(_position_tensor(model, stored, size))
        elif ".mlp.fc" in source:
            found.append(_padded(source, name, stored, padded, precision))
        else:
            kind = _kind(stored.shape, precision)
            found.append(Tensor(source, name, stored.shape, kind, stored.blocks))
    return found


def _names(layers: int) -> Iterator[tuple[str, str]]:
    yield f"{_PATCHES}.weight", "v.patch_embd.weight"
    yield f"{_PATCHES}.bias", "v.patch_embd.bias"
    yield _POSITIONS, "v.position_embd.weight"
    for number in range(layers):
        for ours, theirs in _LAYER:
            for ending in (".weight", ".bias"):
                yield (
                    f"vision.encoder.layers.{number}.{ours}{ending}",
                    f"v.blk.{number}.{theirs}{ending}",
                )
    for ours, theirs in (("linear_1", "mm.0"), ("linear_2", "mm.2")):
        for ending in (".weight", ".bias"):
            yield f"projector.{ours}{ending}", f"{theirs}{ending}"


def _kind(shape: tuple[int, ...], precision: Precision) -> GgmlType:
    """Matrices in the file's precision, the patch convolution in F16, all else in F32."""
    if len(shape) == 1:
        return GgmlType.F32
    return (
        GgmlType.F16 if len(shape) > 2 else type_for_row(vision_matrix_type(precision), shape[-1])
    )


def feed_forward_width(model: Checkpoint, precision: Precision) -> int:
    """Width of the feed-forward part: SigLIP's 4304 becomes 4320 where blocks of 32 need it.

    Exact: a row of zeros in fc1 gives gelu(0) = 0, which fc2 meets with a column of zeros.
    """
    width = int(model.config["vision_config"]["intermediate_size"])
    return width if precision is Precision.F16 else -(-width // _BLOCK) * _BLOCK


def _padded(
    source: str, name: str, stored: StoredTensor, width: int, precision: Precision
) -> Tensor:
    """fc1 with more rows, fc2 with longer ones."""
    shape = list(stored.shape)
    grows = 1 if name.endswith("ffn_down.weight") else 0
    if not name.endswith("ffn_down.bias"):
        shape[grows] = width
    kind = _kind(tuple(shape), precision)
    if tuple(shape) == stored.shape:
        return Tensor(source, name, stored.shape, kind, stored.blocks)
    longer = grows == 1 or len(shape) == 1
    blocks = partial(_longer_rows if longer else _more_rows, stored.blocks, width)
    return Tensor(source, name, tuple(shape), kind, blocks)


def _longer_rows(blocks: Callable[[], Iterator[Floats]], width: int) -> Iterator[Floats]:
    for block in blocks():
        yield np.pad(block, ((0, 0), (0, width - block.shape[1])))


def _more_rows(blocks: Callable[[], Iterator[Floats]], rows: int) -> Iterator[Floats]:
    length = 0
    for block in blocks():
        rows, length = rows - len(block), block.shape[1]
        yield block
    yield np.zeros((rows, length), np.float32)


def _position_tensor(model: Checkpoint, stored: StoredTensor, size: int) -> Tensor:
    side = size // int(model.config["vision_config"]["patch_size"])

    def blocks() -> Iterator[Floats]:
        yield interpolate_positions(stored.whole(), side)

    name = "v.position_embd.weight"
    return Tensor(_POSITIONS, name, (side * side, stored.shape[1]), GgmlType.F32, blocks)


def vision_metadata(model: Checkpoint, precision: Precision, size: int) -> Metadata:
    """clip.* keys for images of `size` pixels."""
    config = model.config["vision_config"]
    number, real, flag = GGUFValueType.UINT32, GGUFValueType.FLOAT32, GGUFValueType.BOOL
    layers = model.feature_layers
    halves = ([0.5, 0.5, 0.5], GGUFValueType.ARRAY, real)
    found: dict[str, Any] = {
        **general_metadata(model, precision, f"{model.provenance.name} vision"),
        "general.type": ("mmproj", GGUFValueType.STRING),
        "clip.has_vision_encoder": (True, flag),
        "clip.projector_type": ("mlp", GGUFValueType.STRING),
        "clip.use_gelu": (True, flag),
        "clip.vision.image_size": (size, number),
        "clip.vision.patch_size": (int(config["patch_size"]), number),
        "clip.vision.embedding_length": (int(config["hidden_size"]), number),
        "clip.vision.feed_forward_length": (feed_forward_width(model, precision), number),
        "clip.vision.projection_dim": (int(model.config["text_config"]["hidden_size"]), number),
        "clip.vision.block_count": (layers, number),
        # Without it llama.cpp leaves out one more layer, and says nothing.
        "clip.vision.feature_layer": ([layers], GGUFValueType.ARRAY, GGUFValueType.INT32),
        "clip.vision.attention.head_count": (int(config["num_attention_heads"]), number),
        "clip.vision.attention.layer_norm_epsilon": (float(config["layer_norm_eps"]), real),
        "clip.vision.image_mean": halves,
        "clip.vision.image_std": halves,
    }
    return found
