"""Which GGML type each tensor takes at a precision, and its bytes in that type."""

from enum import StrEnum
from typing import TypeAlias

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from numpy.typing import NDArray

from imp_data.mobile.gguf.weights import Floats

GgmlType: TypeAlias = GGMLQuantizationType


class Precision(StrEnum):
    """How a file's matrices are stored."""

    F16 = "F16"
    Q8_0 = "Q8_0"
    Q4_0 = "Q4_0"
    Q4_K_M = "Q4_K_M"


# As `imp-data export --bits` takes them. The 4-bit vision tower goes with both 4-bit texts.
TEXT_BITS = {16: [Precision.F16], 8: [Precision.Q8_0], 4: [Precision.Q4_0, Precision.Q4_K_M]}
VISION_BITS = {16: Precision.F16, 8: Precision.Q8_0, 4: Precision.Q4_0}
VISION_FOR_TEXT = {text: VISION_BITS[bits] for bits, texts in TEXT_BITS.items() for text in texts}
FILE_TYPES = {
    Precision.F16: LlamaFileType.MOSTLY_F16,
    Precision.Q8_0: LlamaFileType.MOSTLY_Q8_0,
    Precision.Q4_0: LlamaFileType.MOSTLY_Q4_0,
    Precision.Q4_K_M: LlamaFileType.MOSTLY_Q4_K_M,
}
_MATRIX = {
    Precision.F16: GgmlType.F16,
    Precision.Q8_0: GgmlType.Q8_0,
    Precision.Q4_0: GgmlType.Q4_0,
    Precision.Q4_K_M: GgmlType.Q4_K,
}
# llama-quantize's own fallbacks for rows that are no multiple of 256.
_FALLBACK = {
    GgmlType.Q4_K: GgmlType.Q5_0,
    GgmlType.Q5_K: GgmlType.Q5_1,
    GgmlType.Q6_K: GgmlType.Q8_0,
}


def text_tensor_type(
    name: str, row: int, precision: Precision, layers: int, tied: bool
) -> GgmlType:
    """The type of a text tensor, by llama_tensor_get_type of llama.cpp without an imatrix.

    `name` is GGUF's, `row` the length of a row, `tied` whether the embedding is the output too.
    """
    kind = _MATRIX[precision]
    if precision in {Precision.Q4_0, Precision.Q4_K_M}:
        is_output = name == "output.weight" or (tied and name == "token_embd.weight")
        if is_output:
            kind = GgmlType.Q6_K if row % 256 == 0 else GgmlType.Q8_0
        elif precision is Precision.Q4_K_M:
            kind = _mixed_kind(name, layers)
    return type_for_row(kind, row)


def _mixed_kind(name: str, layers: int) -> GgmlType:
    """The M in Q4_K_M: more bits where they matter most."""
    if name.endswith("attn_qkv.weight"):
        return GgmlType.Q5_K
    if name.endswith(("attn_v.weight", "ffn_down.weight")):
        layer = int(name.split(".")[1])
        eighth = layers // 8
        outer = layer < eighth or layer >= 7 * layers // 8
        if outer or (layer - eighth) % 3 == 2:
            return GgmlType.Q6_K
    return GgmlType.Q4_K


def vision_matrix_type(precision: Precision) -> GgmlType:
    """The type of a matrix of the vision tower or the projector."""
    return _MATRIX[precision]


def type_for_row(kind: GgmlType, row: int) -> GgmlType:
    """The type itself, or the one that takes its place where a row is no multiple of its block."""
    for _ in range(2):
        if row % GGML_QUANT_SIZES[kind][0] == 0:
            return kind
        kind = _FALLBACK.get(kind, GgmlType.F16)
    return kind if row % GGML_QUANT_SIZES[kind][0] == 0 else GgmlType.F16


def row_bytes(kind: GgmlType, row: int) -> int:
    """Bytes of a row of so many numbers."""
    block, size = GGML_QUANT_SIZES[kind]
    return row // block * size


def encode_rows(block: Floats, kind: GgmlType) -> NDArray[np.generic]:
    """Rows of float32 as GGML stores them; ggml's reference quantizers, rows stand alone."""
    if kind is GgmlType.F32:
        return block
    if kind is GgmlType.F16:
        return np.clip(block, -65504, 65504).astype(np.float16)
    from libgguf import quantize_rows

    return np.asarray(quantize_rows(block, kind))


def round_trip(rows: Floats, kind: GgmlType) -> Floats:
    """Rows of float32 as they come back from this type; a last block is filled up with zeros."""
    if kind in {GgmlType.F32, GgmlType.F16}:
        return encode_rows(rows, kind).astype(np.float32)
    from libgguf import dequantize_rows

    length = rows.shape[1]
    block = GGML_QUANT_SIZES[kind][0]
    filled = np.pad(rows, ((0, 0), (0, -length % block)))
    return np.asarray(dequantize_rows(encode_rows(filled, kind), kind))[:, :length]
