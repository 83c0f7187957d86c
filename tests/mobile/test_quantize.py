"""GGML types of tensors, and rows quantized to them."""

import numpy as np
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")


from imp_data.mobile.gguf.quantize import (
    GgmlType,
    Precision,
    encode_rows,
    round_trip,
    text_tensor_type,
)


@pytest.mark.parametrize(
    ("name", "row", "precision", "kind"),
    [
        ("blk.0.attn_q.weight", 2560, Precision.Q4_0, GgmlType.Q4_0),
        ("output.weight", 2560, Precision.Q4_0, GgmlType.Q6_K),
        ("output.weight", 2560, Precision.Q4_K_M, GgmlType.Q6_K),
        ("output.weight", 2560, Precision.Q8_0, GgmlType.Q8_0),
        ("token_embd.weight", 2560, Precision.Q4_K_M, GgmlType.Q4_K),
        ("blk.0.ffn_down.weight", 10240, Precision.Q4_K_M, GgmlType.Q6_K),
        ("blk.4.ffn_down.weight", 10240, Precision.Q4_K_M, GgmlType.Q4_K),
        ("blk.6.attn_v.weight", 2560, Precision.Q4_K_M, GgmlType.Q6_K),
        ("blk.31.attn_v.weight", 2560, Precision.Q4_K_M, GgmlType.Q6_K),
        ("blk.5.attn_qkv.weight", 3072, Precision.Q4_K_M, GgmlType.Q5_K),
        ("blk.5.attn_q.weight", 64, Precision.Q4_K_M, GgmlType.Q5_0),
        ("output.weight", 64, Precision.Q4_0, GgmlType.Q8_0),
        ("blk.5.attn_q.weight", 40, Precision.Q4_0, GgmlType.F16),
        ("blk.5.attn_q.weight", 40, Precision.Q4_K_M, GgmlType.F16),
    ],
)
def test_each_tensor_has_the_type_of_llama_quantize(
    name: str, row: int, precision: Precision, kind: GgmlType
) -> None:
    assert text_tensor_type(name, row, precision, layers=32, tied=False) is kind


def test_a_tied_embedding_has_the_type_of_the_output() -> None:
    kind = text_tensor_type("token_embd.weight", 2560, Precision.Q4_K_M, layers=32, tied=True)
    assert kind is GgmlType.Q6_K


@pytest.mark.parametrize(
    "kind", [GgmlType.F16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q4_K, GgmlType.Q6_K]
)
def test_quantized_rows_are_close_to_the_original(kind: GgmlType) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 512)).astype(np.float32)
    worst = {GgmlType.F16: 1e-3, GgmlType.Q8_0: 0.02, GgmlType.Q6_K: 0.1}.get(kind, 0.35)
    assert np.abs(round_trip(rows, kind) - rows).max() < worst


def test_ggml_s_own_python_quantizer_gives_the_same_bytes() -> None:
    from gguf.quants import quantize

    rows = np.random.default_rng(0).standard_normal((4, 512)).astype(np.float32)
    for kind in (GgmlType.Q8_0, GgmlType.Q4_0):
        assert np.array_equal(encode_rows(rows, kind), quantize(rows, kind))
