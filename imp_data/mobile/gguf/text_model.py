"""GGUF tensors and metadata of the language models Phi-2, Qwen2 and Phi-3.

Names and keys are those of llama.cpp's own converter.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from gguf import GGUFValueType

from imp_data.errors import UserError
from imp_data.mobile.gguf.chat_template import read_chat_template
from imp_data.mobile.gguf.gguf_file import Metadata, Tensor
from imp_data.mobile.gguf.merged_model import Checkpoint
from imp_data.mobile.gguf.quantize import FILE_TYPES, GgmlType, Precision, text_tensor_type
from imp_data.mobile.gguf.vocabulary import load_vocabulary
from imp_data.mobile.gguf.weights import Floats

_BOTH = (".weight", ".bias")
# Tensors of a layer by architecture: name in the checkpoint, name in GGUF, weight and bias.
_LAYER: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "phi2": [
        ("input_layernorm", "attn_norm", _BOTH),
        ("self_attn.q_proj", "attn_q", _BOTH),
        ("self_attn.k_proj", "attn_k", _BOTH),
        ("self_attn.v_proj", "attn_v", _BOTH),
        ("self_attn.dense", "attn_output", _BOTH),
        ("mlp.fc1", "ffn_up", _BOTH),
        ("mlp.fc2", "ffn_down", _BOTH),
    ],
    "qwen2": [
        ("input_layernorm", "attn_norm", _BOTH[:1]),
        ("self_attn.q_proj", "attn_q", _BOTH),
        ("self_attn.k_proj", "attn_k", _BOTH),
        ("self_attn.v_proj", "attn_v", _BOTH),
        ("self_attn.o_proj", "attn_output", _BOTH[:1]),
        ("post_attention_layernorm", "ffn_norm", _BOTH[:1]),
        ("mlp.gate_proj", "ffn_gate", _BOTH[:1]),
        ("mlp.up_proj", "ffn_up", _BOTH[:1]),
        ("mlp.down_proj", "ffn_down", _BOTH[:1]),
    ],
    "phi3": [
        ("input_layernorm", "attn_norm", _BOTH[:1]),
        ("self_attn.qkv_proj", "attn_qkv", _BOTH[:1]),
        ("self_attn.o_proj", "attn_output", _BOTH[:1]),
        ("post_attention_layernorm", "ffn_norm", _BOTH[:1]),
        ("mlp.gate_up_proj", "ffn_up", _BOTH[:1]),
        ("mlp.down_proj", "ffn_down", _BOTH[:1]),
    ],
}
_LAST: dict[str, tuple[str, tuple[str, ...]]] = {
    "phi2": ("final_layernorm", _BOTH),
    "qwen2": ("norm", _BOTH[:1]),
    "phi3": ("norm", _BOTH[:1]),
}


def text_tensors(model: Checkpoint, precision: Precision) -> list[Tensor]:
    """Return every tensor of the language model. Raise UserError that names all missing ones."""
    config = model.config["text_config"]
    layers, tied = int(config["num_hidden_layers"]), "lm_head.weight" not in model.tensors
    names = dict(_names(model.architecture, layers))
    if tied and _is_tied(model):
        del names["lm_head.weight"]
    found = []
    for (source, name), stored in zip(names.items(), model.take(list(names)), strict=True):
        is_matrix = len(stored.shape) == 2
        kind = GgmlType.F32
        if is_matrix:
            kind = text_tensor_type(name, stored.shape[-1], precision, layers, tied)
        found.append(Tensor(source, name, stored.shape, kind, stored.blocks))
    if model.architecture == "phi2":
        found.append(_output_bias(model))
    return found


def _names(architecture: str, layers: int) -> Iterator[tuple[str, str]]:
    """Yield the checkpoint's name and the GGUF name of each tensor."""
    yield "text.embed_tokens.weight", "token_embd.weight"
    for number in range(layers):
        for source, name, endings in _LAYER[architecture]:
            for ending in endings:
                yield f"text.layers.{number}.{source}{ending}", f"blk.{number}.{name}{ending}"
    last, endings = _LAST[architecture]
    for ending in endings:
        yield f"text.{last}{ending}", f"output_norm{ending}"
    yield "lm_head.weight", "output.weight"


def _is_tied(model: Checkpoint) -> bool:
    return bool(model.config["text_config"]["tie_word_embeddings"])


def _output_bias(model: Checkpoint) -> Tensor:
    """Return the output bias that llama.cpp requires for Phi-2; zeros if the model has none."""
    rows = model.take(["text.embed_tokens.weight"])[0].shape[0]
    stored = model.tensors.get("lm_head.bias")
    if stored:
        return Tensor("lm_head.bias", "output.bias", stored.shape, GgmlType.F32, stored.blocks)

    def zeros() -> Iterator[Floats]:
        yield np.zeros((1, rows), np.float32)

    return Tensor("lm_head.bias", "output.bias", (rows,), GgmlType.F32, zeros)


def text_metadata(model: Checkpoint, precision: Precision) -> Metadata:
    """Return the metadata that llama.cpp requires, and the model's provenance."""
    rows = model.take(["text.embed_tokens.weight"])[0].shape[0]
    vocabulary = load_vocabulary(model.folder, rows)
    found: dict[str, Any] = {
        **general_metadata(model, precision, _name(model, vocabulary.strips_right)),
        "general.type": ("model", GGUFValueType.STRING),
    }
    for key, value in _hyperparameters(model).items():
        kind = GGUFValueType.FLOAT32 if isinstance(value, float) else GGUFValueType.UINT32
        found[f"{model.architecture}.{key}"] = (value, kind)
    return {**found, **vocabulary.metadata(read_chat_template(model.folder))}


def general_metadata(model: Checkpoint, precision: Precision, name: str) -> Metadata:
    """Return general.*: name, file type, licence; and the digest of the training mixture."""
    string = GGUFValueType.STRING
    found: dict[str, Any] = {
        "general.name": (name, string),
        "general.file_type": (int(FILE_TYPES[precision]), GGUFValueType.UINT32),
        "general.quantization_version": (2, GGUFValueType.UINT32),
        "imp.preprocessing": (model.provenance.preprocessing, string),
    }
    if model.provenance.license:
        found["general.license"] = (model.provenance.license, string)
    if model.provenance.mixture_digest:
        found["imp.mixture_digest"] = (model.provenance.mixture_digest, string)
    return found


def _name(model: Checkpoint, strips_right: bool) -> str:
    """Return the model's name, with "phi-3" only if blanks after special tokens are stripped.

    llama.cpp decides this by the occurrence of "phi-3" in the name.
    """
    name = model.provenance.name
    if strips_right and model.architecture == "phi3":
        return name if "phi-3" in name.lower() or "phi3" in name.lower() else f"{name} (phi-3)"
    for word in ("phi-3", "phi3", "Phi-3", "Phi3"):
        name = name.replace(word, "phi 3")
    return name


def _hyperparameters(model: Checkpoint) -> dict[str, int | float]:
    config, architecture = model.config["text_config"], model.architecture
    rope = config["rope_parameters"]
    _check_supported(model, config, rope)
    heads = int(config["num_attention_heads"])
    width = int(config["hidden_size"])
    rotary = _rotary(model, rope, width // heads)
    found: dict[str, int | float] = {
        "context_length": int(config["max_position_embeddings"]),
        "embedding_length": width,
        "feed_forward_length": int(config["intermediate_size"]),
        "block_count": int(config["num_hidden_layers"]),
        "attention.head_count": heads,
        "attention.head_count_kv": int(config.get("num_key_value_heads") or heads),
        "rope.freq_base": float(rope["rope_theta"]),
    }
    if architecture == "phi2":
        found["attention.layer_norm_epsilon"] = float(config["layer_norm_eps"])
        found["rope.dimension_count"] = rotary
    else:
        found["attention.layer_norm_rms_epsilon"] = float(config["rms_norm_eps"])
    if architecture == "phi3":
        found["rope.dimension_count"] = rotary
        found["attention.sliding_window"] = int(config.get("sliding_window") or 0)
    return found


def _rotary(model: Checkpoint, rope: dict[str, Any], head: int) -> int:
    """Return the rotary dimensions of a head; llama.cpp aborts the process for an odd number."""
    rotated = int(rope.get("partial_rotary_factor", 1.0) * head)
    if rotated % 2:
        problem = f"text_config: {rotated} of a head's {head} dimensions are rotary, an odd number"
        remedy = "choose partial_rotary_factor so that the number is even"
        raise UserError(model.folder / "config.json", problem, remedy)
    return rotated


def _check_supported(model: Checkpoint, config: dict[str, Any], rope: dict[str, Any]) -> None:
    """Raise UserError for options of these architectures that llama.cpp computes differently."""
    path = model.folder / "config.json"
    kind = rope["rope_type"]
    if kind != "default":
        remedy = "export a model with plain rotary positions"
        problem = f"text_config.rope_parameters: type {kind!r} is not supported"
        raise UserError(path, problem, remedy)
    if config.get("qk_layernorm"):
        problem = "text_config.qk_layernorm is set, which llama.cpp's Phi-2 does not support"
        raise UserError(path, problem, "export a model without it")
    if config.get("use_sliding_window"):
        problem = "text_config.use_sliding_window is set, which llama.cpp's Qwen2 ignores"
        raise UserError(path, problem, "export a model without it")
