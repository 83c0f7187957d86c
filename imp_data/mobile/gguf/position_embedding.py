"""The vision tower's position table for images of another size."""

import numpy as np

from imp_data.mobile.gguf.weights import Floats

# torch.nn.functional.interpolate(mode="bicubic"): Keys' cubic convolution with a = -0.75.
_A = -0.75


def interpolate_positions(table: Floats, side: int) -> Floats:
    """(n * n, width) as (side * side, width), bicubic as SigLIP's interpolate_pos_encoding."""
    old = round(len(table) ** 0.5)
    if old == side:
        return table
    weights = _weights(old, side)
    grid = table.reshape(old, old, -1).astype(np.float64)
    resized = np.einsum("io,jp,opw->ijw", weights, weights, grid, optimize=True)
    return resized.reshape(side * side, -1).astype(np.float32)


def _weights(old: int, new: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(new, old): what each old place gives to each new one; places beyond the edge are the edge.

    Half-pixel centres (align_corners=False), and no widening of the kernel when shrinking.
    """
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(centres).astype(int) - 1
    weights = np.zeros((new, old))
    for step in range(4):
        place = first + step
        share = _kernel(np.abs(centres - place))
        np.add.at(weights, (np.arange(new), np.clip(place, 0, old - 1)), share)
    return weights


def _kernel(
    x: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return np.where(x <= 1, near, far)
