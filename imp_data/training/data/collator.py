"""Collate items into batches: padded on the right, or several packed in one row."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.dataset import InputSpec, Item
from imp_data.training.data.encoding import IGNORED, Ids


class Row(NamedTuple):
    """A sequence of tokens; `weights` are the weights of its labels in the loss."""

    ids: Ids
    labels: Ids
    weights: npt.NDArray[np.float32]


class Collator:
    """Collates items into a batch, padded on the right to the longest."""

    def __init__(self, tokenizer: Any, figures: InputSpec) -> None:
        self._pad_id = int(tokenizer.pad_token_id)
        self._image_id = int(tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
        self._figures = figures

    def __call__(self, items: Sequence[Item]) -> dict[str, Any]:
        """Return input_ids, the loss inputs, attention_mask, pixel_values of all images,
        and, for logs, the items' ids and number of tokens."""
        rows = [_as_row(item) for item in items]
        sizes = [len(row.ids) for row in rows]
        pixels = _stack_pixels(items)
        if pixels is None:
            # Every process runs the vision tower and the projector at every step, as in the
            # original. Their output for this image is outside the text, and masked from attention.
            pixels, tokens = self._placeholder()
            shortest = int(np.argmin(sizes))
            rows[shortest] = _concatenate([rows[shortest], tokens])
        input_ids, labels, weights = self._pad(rows)
        mask = torch.zeros_like(input_ids)
        for row, size in zip(mask, sizes, strict=True):
            row[:size] = 1
        return {
            "input_ids": input_ids,
            **_loss_inputs(labels, weights),
            "attention_mask": mask,
            "pixel_values": pixels,
            **_log_entries(items),
        }

    def _pad(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """Return ids, labels and weights, each of shape (rows, longest)."""
        shape = len(rows), max(len(row.ids) for row in rows)
        tensors = [
            torch.full(shape, self._pad_id),
            torch.full(shape, IGNORED),
            torch.zeros(shape),
        ]
        for number, row in enumerate(rows):
            columns: tuple[npt.NDArray[Any], ...] = row
            for tensor, values in zip(tensors, columns, strict=True):
                tensor[number, : len(values)] = torch.from_numpy(values)
        return tensors

    def _placeholder(self) -> tuple[torch.Tensor, Row]:
        """Return a black image and its placeholder tokens, none of which is learned."""
        size, tokens = self._figures.image_size, self._figures.image_tokens
        ids = np.full(tokens, self._image_id, np.int64)
        placeholder = Row(ids, np.full(tokens, IGNORED, np.int64), np.zeros(tokens, np.float32))
        return torch.zeros(1, 3, size, size), placeholder


class PackedCollator(Collator):
    """Collates lists of items into a batch in which each list is one row.

    `position_ids` restart with every item. With that, no attention_mask and no cache, transformers
    (masking_utils.find_packed_sequence_indices) keeps attention within an item, under eager, sdpa
    and flex attention; flash attention does so only if a batch is one row.
    """

    def __call__(self, lists: Sequence[Sequence[Item]]) -> dict[str, Any]:  # type: ignore[override]
        """Return input_ids, the loss inputs, position_ids, pixel_values, use_cache=False,
        and, for logs, the items' ids and number of tokens."""
        rows = [[_as_row(item) for item in items] for items in lists]
        items = [item for some in lists for item in some]
        pixels = _stack_pixels(items)
        if pixels is None:
            pixels, tokens = self._placeholder()
            min(rows, key=lambda row: sum(len(part.ids) for part in row)).append(tokens)
        input_ids, labels, weights = self._pad([_concatenate(row) for row in rows])
        positions = torch.zeros_like(input_ids)
        for places, row in zip(positions, rows, strict=True):
            steps = np.concatenate([np.arange(len(part.ids)) for part in row])
            places[: len(steps)] = torch.from_numpy(steps)
        # The last token of an item does not predict the first token of the next.
        labels[positions == 0] = IGNORED
        return {
            "input_ids": input_ids,
            **_loss_inputs(labels, weights),
            "position_ids": positions,
            "pixel_values": pixels,
            "use_cache": False,
            **_log_entries(items),
        }


def _loss_inputs(labels: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the labels, the positions that need logits, and the targets there with their weights.

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


def _log_entries(items: Sequence[Item]) -> dict[str, Any]:
    """Return the batch's entries for logs, not for the network; padding is not counted."""
    return {
        "ids": [item["id"] for item in items],
        "tokens": sum(len(item["input_ids"]) for item in items),
    }


def _stack_pixels(items: Sequence[Item]) -> torch.Tensor | None:
    """Return the pixels of all images of all items, in order; None if no item has one."""
    pixels = [item["pixel_values"] for item in items if item["pixel_values"] is not None]
    return torch.from_numpy(np.concatenate(pixels)) if pixels else None


def _as_row(item: Item) -> Row:
    weights = np.full(len(item["labels"]), item["weight"], np.float32)
    return Row(item["input_ids"], item["labels"], weights)


def _concatenate(rows: Sequence[Row]) -> Row:
    return Row(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))
