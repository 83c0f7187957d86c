"""Choose the GGML type of each tensor at a precision, and quantize rows to it."""

from enum import StrEnum
from typing import TypeAlias

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from numpy.typing import NDArray

from imp_data.mobile.gguf.weights import Floats

GgmlType: TypeAlias = GGMLQuantizationType


class Precision(StrEnum):
    """The number format of a file's matrices."""

    F16 = "F16"
    Q8_0 = "Q8_0"
    Q4_0 = "Q4_0"
    Q4_K_M = "Q4_K_M"


# Value of `imp-data export --bits` to precisions. One 4-bit vision tower serves both 4-bit texts.
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
# llama-quantize's fallbacks for rows whose length is not a multiple of 256.
_FALLBACK = {
    GgmlType.Q4_K: GgmlType.Q5_0,
    GgmlType.Q5_K: GgmlType.Q5_1,
    GgmlType.Q6_K: GgmlType.Q8_0,
}


def text_tensor_type(
    name: str, row: int, precision: Precision, layers: int, tied: bool
) -> GgmlType:
    """Return the type of a text tensor, as llama.cpp's llama_tensor_get_type without an imatrix.

    `name` is the GGUF name, `row` the row length; `tied` means that the embedding is also the
    output.
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
    """Return the type for Q4_K_M, which spends more bits on the most sensitive tensors."""
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
    """Return the type of a matrix of the vision tower or the projector."""
    return _MATRIX[precision]


def type_for_row(kind: GgmlType, row: int) -> GgmlType:
    """Return the type, or its fallback if the row length is not a multiple of its block size."""
    for _ in range(2):
        if row % GGML_QUANT_SIZES[kind][0] == 0:
            return kind
        kind = _FALLBACK.get(kind, GgmlType.F16)
    return kind if row % GGML_QUANT_SIZES[kind][0] == 0 else GgmlType.F16


def row_bytes(kind: GgmlType, row: int) -> int:
    """Return the bytes of a row of `row` numbers."""
    block, size = GGML_QUANT_SIZES[kind]
    return row // block * size


def encode_rows(block: Floats, kind: GgmlType) -> NDArray[np.generic]:
    """Quantize float32 rows with ggml's reference quantizers, each row independently."""
    if kind is GgmlType.F32:
        return block
    if kind is GgmlType.F16:
        return np.clip(block, -65504, 65504).astype(np.float16)
    from libgguf import quantize_rows

    return np.asarray(quantize_rows(block, kind))


def round_trip(rows: Floats, kind: GgmlType) -> Floats:
    """Quantize float32 rows to this type and back; an incomplete last block is zero-padded."""
    if kind in {GgmlType.F32, GgmlType.F16}:
        return encode_rows(rows, kind).astype(np.float32)
    from libgguf import dequantize_rows

    length = rows.shape[1]
    block = GGML_QUANT_SIZES[kind][0]
    filled = np.pad(rows, ((0, 0), (0, -length % block)))
    return np.asarray(dequantize_rows(encode_rows(filled, kind), kind))[:, :length]
