"""Weights of learned tokens in the loss of their step."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


class WeightedRow(NamedTuple):
    """A mixture's row in a step, and the weight of each of its learned tokens in that step."""

    row: int
    weight: float = 1.0


def token_weights(learned: Counts, loss_batch: int) -> Weights:
    """Return weights per learned token, (steps, samples), from numbers of learned tokens.

    Every `loss_batch` consecutive samples are a micro-batch. A step's loss is the mean over its
    micro-batches of the mean over a micro-batch's learned tokens; if `loss_batch` is the whole
    step, it is the mean over the step's learned tokens. Weights times tokens sum to 1 for each
    step, in whatever batches, packed sequences and devices its samples are.
    """
    steps, samples = learned.shape
    grouped = learned.reshape(steps, samples // loss_batch, loss_batch)
    totals = grouped.sum(axis=2, keepdims=True) * grouped.shape[1]
    weights = np.divide(1.0, totals, out=np.zeros(totals.shape), where=totals > 0)
    return np.broadcast_to(weights, grouped.shape).reshape(steps, samples)


class StepWeights:
    """Computes the weights of a step's samples; `learned` is the token count of each row."""

    def __init__(self, learned: Counts, loss_batch: int) -> None:
        self._learned, self._loss_batch = learned, loss_batch

    def weigh_rows(self, rows: Sequence[int]) -> list[WeightedRow]:
        """Return a step's samples with their weights, in order."""
        learned = self._learned[list(rows)][None]
        weights = token_weights(learned, self._loss_batch)[0]
        return [WeightedRow(*pair) for pair in zip(rows, weights.tolist(), strict=True)]

    def loss_by_row(self, steps: Iterable[Sequence[int]]) -> Weights:
        """Return, by row, the total weight of its learned tokens over these steps."""
        total = np.zeros(len(self._learned))
        for rows in steps:
            chosen = np.array(rows, np.int64)
            learned = self._learned[chosen]
            weights = token_weights(learned[None], self._loss_batch)[0]
            np.add.at(total, chosen, weights * learned)
        return total
