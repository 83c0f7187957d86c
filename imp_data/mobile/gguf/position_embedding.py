"""Interpolate the vision tower's position table for another image size."""

import numpy as np

from imp_data.mobile.gguf.weights import Floats

# torch.nn.functional.interpolate(mode="bicubic"): Keys' cubic convolution with a = -0.75.
_A = -0.75


def interpolate_positions(table: Floats, side: int) -> Floats:
    """Resize (n * n, width) to (side * side, width), as SigLIP's interpolate_pos_encoding does."""
    old = round(len(table) ** 0.5)
    if old == side:
        return table
    weights = _weights(old, side)
    grid = table.reshape(old, old, -1).astype(np.float64)
    resized = np.einsum("io,jp,opw->ijw", weights, weights, grid, optimize=True)
    return resized.reshape(side * side, -1).astype(np.float32)


def _weights(old: int, new: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the (new, old) weights of the old positions in each new one, clamped at the edges.

    Half-pixel centres (align_corners=False), and no wider kernel when shrinking.
    """
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(centres).astype(int) - 1
    weights = np.zeros((new, old))
    for step in range(4):
        position = first + step
        weight = _kernel(np.abs(centres - position))
        np.add.at(weights, (np.arange(new), np.clip(position, 0, old - 1)), weight)
    return weights


def _kernel(
    x: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return np.where(x <= 1, near, far)
