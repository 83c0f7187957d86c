"""What each learned token weighs in the loss of its step."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


class Pick(NamedTuple):
    """A mixture's row in a step, and the weight of each of its learned tokens there."""

    row: int
    weight: float = 1.0


def token_weights(learned: Counts, loss_batch: int) -> Weights:
    """(steps, samples) learned tokens to (steps, samples) weights of one learned token each.

    Each `loss_batch` samples in turn are a micro-batch; a step's loss is the mean over its
    micro-batches of the mean over a micro-batch's learned tokens. With as many samples as a step
    has, that is the mean over the step's learned tokens. Weights times tokens are 1 for each step,
    however its samples are dealt to batches, packed sequences and devices.
    """
    steps, samples = learned.shape
    grouped = learned.reshape(steps, samples // loss_batch, loss_batch)
    totals = grouped.sum(axis=2, keepdims=True) * grouped.shape[1]
    weights = np.divide(1.0, totals, out=np.zeros(totals.shape), where=totals > 0)
    return np.broadcast_to(weights, grouped.shape).reshape(steps, samples)


class Weighting:
    """The weights of a step's samples; `learned` counts tokens by the mixture's rows."""

    def __init__(self, learned: Counts, loss_batch: int) -> None:
        self._learned, self._loss_batch = learned, loss_batch

    def picks(self, rows: Sequence[int]) -> list[Pick]:
        """A step's samples in their order."""
        learned = self._learned[list(rows)][None]
        weights = token_weights(learned, self._loss_batch)[0]
        return [Pick(*pair) for pair in zip(rows, weights.tolist(), strict=True)]

    def loss_by_row(self, steps: Iterable[Sequence[int]]) -> Weights:
        """The sum over these steps of the weight of each row's learned tokens."""
        total = np.zeros(len(self._learned))
        for rows in steps:
            chosen = np.array(rows, np.int64)
            learned = self._learned[chosen]
            weights = token_weights(learned[None], self._loss_batch)[0]
            np.add.at(total, chosen, weights * learned)
        return total
