"""Position tables are interpolated as in torch."""

import numpy as np
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

import torch
from hypothesis import given
from hypothesis import strategies as st

from imp_data.mobile.gguf.position_embedding import interpolate_positions


@given(
    side=st.integers(2, 9),
    new=st.integers(1, 12),
    seed=st.integers(0, 9),
)
def test_positions_are_interpolated_as_in_torch(side: int, new: int, seed: int) -> None:
    table = np.random.default_rng(seed).standard_normal((side * side, 3)).astype(np.float32)
    grid = torch.from_numpy(table).reshape(1, side, side, 3).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, (new, new), mode="bicubic")
    found = interpolate_positions(table, new)
    assert np.allclose(found, expected[0].permute(1, 2, 0).reshape(-1, 3), atol=1e-4)


def test_siglip_s_27_by_27_table_becomes_14_by_14() -> None:
    table = np.arange(27 * 27 * 2, dtype=np.float32).reshape(-1, 2)
    assert interpolate_positions(table, 14).shape == (196, 2)
    assert interpolate_positions(table, 27) is table
