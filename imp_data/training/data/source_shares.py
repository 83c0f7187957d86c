"""Shares of each source in a stage: of samples, tokens, learned tokens and loss."""

from typing import Any

import numpy as np
import numpy.typing as npt

from imp_data.manifests.model import Stage
from imp_data.training.data.batch_sampler import EpochOrder, iterate_steps
from imp_data.training.data.preflight import AcceptedRows
from imp_data.training.data.token_weights import StepWeights

SHARES = "shares.json"
_COLUMNS = ("samples", "tokens", "learned", "loss")


def compute_shares(
    stage: Stage, table: AcceptedRows, order: EpochOrder, weighting: StepWeights
) -> dict[str, Any]:
    """Return the shares by source over all epochs of the stage; each column sums to 1.

    The share of the loss is exact: the total weight of a source's learned tokens in all steps. It
    is the source's share of the gradient, if all tokens are equally hard.
    """
    epochs = map(order, range(stage.epochs))
    steps = (rows for epoch in epochs for rows in iterate_steps(epoch, stage.global_batch))
    loss = weighting.loss_by_row(steps)[table.rows]
    columns = (np.ones(len(table.rows)), np.abs(table.lengths), table.learned, loss)
    return {
        "loss_weighting": stage.loss_weighting,
        "micro_batch_size": stage.micro_batch_size,
        "sources": _sum_by_source(table.sources, columns),
    }


def format_shares(found: dict[str, Any]) -> str:
    """Format the shares as a table."""
    size = found["micro_batch_size"]
    mean = f"micro_batch, of {size} samples" if size else "token"
    lines = [f"{'share of':<24}" + "".join(f"{column:>12}" for column in _COLUMNS)]
    for name, row in found["sources"].items():
        lines.append(f"{name:<24}" + "".join(f"{row[column]:>12.1%}" for column in _COLUMNS))
    return "\n".join([*lines, f"loss_weighting: {mean}"])


def _sum_by_source(
    sources: list[str], columns: tuple[npt.NDArray[Any], ...]
) -> dict[str, dict[str, float]]:
    names, places = np.unique(np.array(sources), return_inverse=True)
    sums = [np.bincount(places, weights=values, minlength=len(names)) for values in columns]
    parts = [(some / some.sum()).tolist() for some in sums]
    return {
        str(name): dict(zip(_COLUMNS, row, strict=True))
        for name, row in zip(names, zip(*parts, strict=True), strict=True)
    }
