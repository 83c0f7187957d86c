"""GGUF tensors and metadata of the vision tower and the projector (llama.cpp: mmproj)."""

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
    """Return the tensors for images of `size` pixels: the used layers, feed-forward padded."""
    names = dict(_names(model.feature_layers))
    width = feed_forward_width(model, precision)
    found = []
    for (source, name), stored in zip(names.items(), model.take(list(names)), strict=True):
        if source == _POSITIONS:
            found.append(_position_tensor(model, stored, size))
        elif ".mlp.fc" in source:
            found.append(_padded_tensor(source, name, stored, width, precision))
        else:
            kind = _tensor_type(stored.shape, precision)
            found.append(Tensor(source, name, stored.shape, kind, stored.blocks))
    return found


def _names(layers: int) -> Iterator[tuple[str, str]]:
    yield f"{_PATCHES}.weight", "v.patch_embd.weight"
    yield f"{_PATCHES}.bias", "v.patch_embd.bias"
    yield _POSITIONS, "v.position_embd.weight"
    for number in range(layers):
        for source, name in _LAYER:
            for ending in (".weight", ".bias"):
                yield (
                    f"vision.encoder.layers.{number}.{source}{ending}",
                    f"v.blk.{number}.{name}{ending}",
                )
    for source, name in (("linear_1", "mm.0"), ("linear_2", "mm.2")):
        for ending in (".weight", ".bias"):
            yield f"projector.{source}{ending}", f"{name}{ending}"


def _tensor_type(shape: tuple[int, ...], precision: Precision) -> GgmlType:
    """Return the file's type for a matrix, F16 for the patch convolution, F32 for all else."""
    if len(shape) == 1:
        return GgmlType.F32
    return (
        GgmlType.F16 if len(shape) > 2 else type_for_row(vision_matrix_type(precision), shape[-1])
    )


def feed_forward_width(model: Checkpoint, precision: Precision) -> int:
    """Return the feed-forward width: SigLIP's 4304 becomes 4320 for types with blocks of 32.

    The padding is exact: a zero row of fc1 gives gelu(0) = 0, and fc2 has a zero column for it.
    """
    width = int(model.config["vision_config"]["intermediate_size"])
    return width if precision is Precision.F16 else -(-width // _BLOCK) * _BLOCK


def _padded_tensor(
    source: str, name: str, stored: StoredTensor, width: int, precision: Precision
) -> Tensor:
    """Pad fc1 with rows and fc2 with columns."""
    shape = list(stored.shape)
    axis = 1 if name.endswith("ffn_down.weight") else 0
    if not name.endswith("ffn_down.bias"):
        shape[axis] = width
    kind = _tensor_type(tuple(shape), precision)
    if tuple(shape) == stored.shape:
        return Tensor(source, name, stored.shape, kind, stored.blocks)
    longer = axis == 1 or len(shape) == 1
    blocks = partial(_pad_columns if longer else _append_rows, stored.blocks, width)
    return Tensor(source, name, tuple(shape), kind, blocks)


def _pad_columns(blocks: Callable[[], Iterator[Floats]], width: int) -> Iterator[Floats]:
    for block in blocks():
        yield np.pad(block, ((0, 0), (0, width - block.shape[1])))


def _append_rows(blocks: Callable[[], Iterator[Floats]], rows: int) -> Iterator[Floats]:
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
    """Return the clip.* keys for images of `size` pixels."""
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
        # Without this key llama.cpp silently skips one more layer.
        "clip.vision.feature_layer": ([layers], GGUFValueType.ARRAY, GGUFValueType.INT32),
        "clip.vision.attention.head_count": (int(config["num_attention_heads"]), number),
        "clip.vision.attention.layer_norm_epsilon": (float(config["layer_norm_eps"]), real),
        "clip.vision.image_mean": halves,
        "clip.vision.image_std": halves,
    }
    return found
