"""Items to batches: padded on the right, or several in one row."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.dataset import Figures, Item
from imp_data.training.data.encoding import IGNORED, Ids


class Row(NamedTuple):
    """A stretch of tokens; `weights` are those of its labels in the loss."""

    ids: Ids
    labels: Ids
    weights: npt.NDArray[np.float32]


class Collator:
    """Items to a batch padded on the right to its longest."""

    def __init__(self, tokenizer: Any, figures: Figures) -> None:
        self._pad_id = int(tokenizer.pad_token_id)
        self._image_id = int(tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
        self._figures = figures

    def __call__(self, items: Sequence[Item]) -> dict[str, Any]:
        """input_ids, what is learned, attention_mask, pixel_values of those with an image; for the
        account the items' ids and their tokens."""
        rows = [_row(item) for item in items]
        sizes = [len(row.ids) for row in rows]
        pixels = _pixels(items)
        if pixels is None:
            # Every process runs the vision tower and the projector at every step, as in the
            # original; what they give here stands outside the text and is attended to by none.
            pixels, held = self._nothing()
            shortest = int(np.argmin(sizes))
            rows[shortest] = _joined([rows[shortest], held])
        input_ids, labels, weights = self._padded(rows)
        mask = torch.zeros_like(input_ids)
        for row, size in zip(mask, sizes, strict=True):
            row[:size] = 1
        return {
            "input_ids": input_ids,
            **_learned(labels, weights),
            "attention_mask": mask,
            "pixel_values": pixels,
            **_account(items),
        }

    def _padded(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """ids, labels and weights, (rows, longest) each."""
        shape = len(rows), max(len(row.ids) for row in rows)
        tensors = [
            torch.full(shape, self._pad_id),
            torch.full(shape, IGNORED),
            torch.zeros(shape),
        ]
        for number, row in enumerate(rows):
            stretches: tuple[npt.NDArray[Any], ...] = row
            for tensor, values in zip(tensors, stretches, strict=True):
                tensor[number, : len(values)] = torch.from_numpy(values)
        return tensors

    def _nothing(self) -> tuple[torch.Tensor, Row]:
        """A black image, and the tokens that hold its place, none of which is learned."""
        size, tokens = self._figures.image_size, self._figures.image_tokens
        ids = np.full(tokens, self._image_id, np.int64)
        held = Row(ids, np.full(tokens, IGNORED, np.int64), np.zeros(tokens, np.float32))
        return torch.zeros(1, 3, size, size), held


class PackedCollator(Collator):
    """Lists of items to a batch in which each list is one row.

    `position_ids` begin anew with every item. That, no attention_mask and no cache, is by what
    transformers (masking_utils.find_packed_sequence_indices) keeps the items of a row apart, under
    eager, sdpa and flex attention; flash attention does so only where a batch is one row.
    """

    def __call__(self, lists: Sequence[Sequence[Item]]) -> dict[str, Any]:  # type: ignore[override]
        """input_ids, what is learned, position_ids, pixel_values, use_cache=False; for the account
        the items' ids and their tokens."""
        rows = [[_row(item) for item in items] for items in lists]
        items = [item for some in lists for item in some]
        pixels = _pixels(items)
        if pixels is None:
            pixels, held = self._nothing()
            min(rows, key=lambda row: sum(len(part.ids) for part in row)).append(held)
        input_ids, labels, weights = self._padded([_joined(row) for row in rows])
        positions = torch.zeros_like(input_ids)
        for places, row in zip(positions, rows, strict=True):
            steps = np.concatenate([np.arange(len(part.ids)) for part in row])
            places[: len(steps)] = torch.from_numpy(steps)
        # Nothing is learned where one item would foretell the next.
        labels[positions == 0] = IGNORED
        return {
            "input_ids": input_ids,
            **_learned(labels, weights),
            "position_ids": positions,
            "pixel_values": pixels,
            "use_cache": False,
            **_account(items),
        }


def _learned(labels: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """The labels, where logits are needed for them, and the token that is learned at each place
    with its weight in the loss.

    An answer is a small part of a sequence with an image, and the head is a model's widest layer:
    logits of all tokens would be most of a step's memory.
    """
    following = labels.roll(-1, 1)
    following[:, -1] = IGNORED
    learned = following.ne(IGNORED)
    return {
        "labels": labels,
        "logits_to_keep": learned,
        "shift_labels": following[learned],
        "loss_weights": weights.roll(-1, 1)[learned],
    }


def _account(items: Sequence[Item]) -> dict[str, Any]:
    """What is said of a batch, and not given to the network: padding is no token."""
    return {
        "ids": [item["id"] for item in items],
        "tokens": sum(len(item["input_ids"]) for item in items),
    }


def _pixels(items: Sequence[Item]) -> torch.Tensor | None:
    """Of the items that have an image, in their order; None if none has."""
    shown = [item["pixel_values"] for item in items if item["pixel_values"] is not None]
    return torch.from_numpy(np.stack(shown)) if shown else None


def _row(item: Item) -> Row:
    weights = np.full(len(item["labels"]), item["weight"], np.float32)
    return Row(item["input_ids"], item["labels"], weights)


def _joined(rows: Sequence[Row]) -> Row:
    return Row(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))
