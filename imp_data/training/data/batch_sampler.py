"""Batches of an epoch: each step takes the same rows on any number of devices."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from imp_data.training.data.sampling import Lengths, pack_rows
from imp_data.training.data.token_weights import WeightedRow

EpochOrder = Callable[[int], Sequence[int]]
# Splits a step's rows into the batches of all devices, always equally many. A batch is a list of
# positions in the step, or, if packed, of tuples of positions.
SplitStep = Callable[[Sequence[int]], list[list[Any]]]
# Returns a step's rows with the weights of their tokens in the step's loss.
WeighStep = Callable[[Sequence[int]], Sequence[WeightedRow]]


class StepBatchSampler:
    """One device's batches of an epoch, as the batch_sampler of a DataLoader.

    A step takes the next `global_batch` rows of the epoch's order, in `parts` batches that are
    assigned to the devices round-robin. A batch is a list of WeightedRows, or, if packed, of tuples
    of them. The last step is filled up from the start of the epoch, so that every step has the same
    weight on any number of devices.
    """

    def __init__(
        self,
        order: EpochOrder,
        global_batch: int,
        parts: int,
        deal: SplitStep,
        weigh: WeighStep,
        devices: int = 1,
        device: int = 0,
    ) -> None:
        self._order, self._global_batch, self._deal = order, global_batch, deal
        self._weigh = weigh
        self._devices, self._device = devices, device
        self.steps = -(-len(order(0)) // global_batch)
        self.accumulation = parts // devices
        self._epoch = 0

    @property
    def batch_sampler(self) -> "StepBatchSampler":
        """Itself: transformers' Trainer calls `batch_sampler.set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Start that epoch, counted from 0, at the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.accumulation

    def __iter__(self) -> Iterator[list[Any]]:
        for rows in steps_of(self._order(self._epoch), self._global_batch):
            picks = self._weigh(rows)
            for batch in self._deal(rows)[self._device :: self._devices]:
                yield [
                    tuple(picks[n] for n in place) if isinstance(place, tuple) else picks[place]
                    for place in batch
                ]


def steps_of(order: Sequence[int], global_batch: int) -> Iterator[list[int]]:
    """Yield the rows of each step of an epoch; the last step is filled up from its start."""
    for begin in range(0, len(order), global_batch):
        yield [order[n % len(order)] for n in range(begin, begin + global_batch)]


def split_in_order(per_device: int) -> SplitStep:
    """Return a split into batches of `per_device` rows, in order."""

    def deal(rows: Sequence[int]) -> list[list[int]]:
        places = list(range(len(rows)))
        return [places[n : n + per_device] for n in places[::per_device]]

    return deal


class Packing:
    """Packs a step's rows into bins of up to `max_length` tokens; a batch is a list of bins.

    A bin is a tuple of positions in the step, and becomes one sequence. A step has the same rows
    and weights as without packing, so its gradient is the same.
    """

    def __init__(self, lengths: Lengths, max_length: int) -> None:
        self._lengths, self._max_length = lengths, max_length

    def bins(self, rows: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the bins of a step's rows, the fullest first."""
        bins = pack_rows(self._lengths[list(rows)], self._max_length)
        return sorted(bins, key=partial(self._count_tokens, rows), reverse=True)

    def parts(
        self, orders: Iterable[Sequence[int]], global_batch: int, per_device: int, devices: int
    ) -> int:
        """Return the least number of batches per step that holds the bins of every step.

        It is a multiple of the number of devices.
        """
        steps = (rows for order in orders for rows in steps_of(order, global_batch))
        most = max(len(self.bins(rows)) for rows in steps)
        return -(-most // (per_device * devices)) * devices

    def deal(self, parts: int) -> SplitStep:
        """Return a split into batches of bins; adjacent batches are nearly equally full."""
        return partial(self._split, parts)

    def _split(self, parts: int, rows: Sequence[int]) -> list[list[tuple[int, ...]]]:
        bins = self.bins(rows)
        while len(bins) < parts:
            # Too few bins for the devices: halve the bin with the most rows.
            largest = max(range(len(bins)), key=lambda n: len(bins[n]))
            halves = bins[largest][::2], bins[largest][1::2]
            bins[largest : largest + 1] = halves
        bins.sort(key=partial(self._count_tokens, rows), reverse=True)
        size, larger = divmod(len(bins), parts)
        bounds = [n * size + min(n, larger) for n in range(parts + 1)]
        return [bins[begin:end] for begin, end in pairwise(bounds)]

    def _count_tokens(self, rows: Sequence[int], places: tuple[int, ...]) -> int:
        return int(abs(self._lengths[[rows[n] for n in places]]).sum())
