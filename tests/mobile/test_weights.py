"""Tensors are read from safetensors exactly and in blocks of rows."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

import torch
from safetensors.torch import save_file

from imp_data.mobile.gguf import weights


def test_bf16_is_converted_exactly(tmp_path: Path) -> None:
    numbers = torch.randn(5, 7).to(torch.bfloat16)
    save_file({"a": numbers}, tmp_path / "model.safetensors")
    found = weights.read_stored_tensors(tmp_path)["a"].whole()
    assert np.array_equal(found, numbers.float().numpy())


def test_a_tensor_is_read_in_blocks_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = torch.randn(50, 8)
    save_file({"a": numbers}, tmp_path / "model.safetensors")
    monkeypatch.setattr(weights, "BLOCK_BYTES", 7 * 8 * 4)
    blocks = list(weights.read_stored_tensors(tmp_path)["a"].blocks())
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 7, 7, 7, 1]
    assert np.array_equal(np.concatenate(blocks), numbers.numpy())
