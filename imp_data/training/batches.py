"""Which rows each step takes: the same ones whatever the number of devices."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from imp_data.training.sampling import Lengths, packed

Order = Callable[[int], Sequence[int]]
# A step's rows as the batches of all devices, always equally many.
Deal = Callable[[Sequence[int]], list[list[Any]]]


class Batches:
    """One device's batches of an epoch, as DataLoader's batch_sampler.

    A step takes the next `global_batch` rows of the epoch's order, in `parts` batches that go to
    the devices in turn. The last step is filled up from the epoch's beginning, so that every step
    weighs the same on any number of devices.
    """

    def __init__(
        self,
        order: Order,
        global_batch: int,
        parts: int,
        deal: Deal,
        devices: int = 1,
        device: int = 0,
    ) -> None:
        self._order, self._global_batch, self._deal = order, global_batch, deal
        self._devices, self._device = devices, device
        self.steps = -(-len(order(0)) // global_batch)
        self.accumulation = parts // devices
        self._epoch = 0

    @property
    def batch_sampler(self) -> "Batches":
        """Itself: where transformers' Trainer looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Begin that epoch, counted from 0, at the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.accumulation

    def __iter__(self) -> Iterator[list[Any]]:
        for rows in steps_of(self._order(self._epoch), self._global_batch):
            yield from self._deal(rows)[self._device :: self._devices]


def steps_of(order: Sequence[int], global_batch: int) -> Iterator[list[int]]:
    """An epoch's rows by steps, the last filled up from its beginning."""
    for begin in range(0, len(order), global_batch):
        yield [order[n % len(order)] for n in range(begin, begin + global_batch)]


def in_turn(per_device: int) -> Deal:
    """Batches of so many rows, as they come."""
    return lambda rows: [list(rows[n : n + per_device]) for n in range(0, len(rows), per_device)]


class Packing:
    """A step's rows in bins of up to `max_length` tokens; a batch is a list of bins.

    A bin is a tuple of rows, and one sequence. A step is of the same rows as it would be without
    packing, and so is its gradient, whose loss is the mean over the learned tokens of the step.
    """

    def __init__(self, lengths: Lengths, max_length: int) -> None:
        self._lengths, self._max_length = lengths, max_length

    def bins(self, rows: Sequence[int]) -> list[tuple[int, ...]]:
        """The fullest first."""
        bins = packed(self._lengths[list(rows)], self._max_length)
        named = [tuple(rows[n] for n in some) for some in bins]
        return sorted(named, key=self._tokens, reverse=True)

    def parts(
        self, orders: Iterable[Sequence[int]], global_batch: int, per_device: int, devices: int
    ) -> int:
        """Batches a step: the fewest, as many for each device, that hold any step's bins."""
        steps = (rows for order in orders for rows in steps_of(order, global_batch))
        most = max(len(self.bins(rows)) for rows in steps)
        return -(-most // (per_device * devices)) * devices

    def deal(self, parts: int) -> Deal:
        """Batches of bins that are nearly equally full; neighbours take nearly as long."""
        return partial(self._dealt, parts)

    def _dealt(self, parts: int, rows: Sequence[int]) -> list[list[tuple[int, ...]]]:
        bins = self.bins(rows)
        while len(bins) < parts:
            # Where bins are too few for the devices, those of most rows are halved.
            largest = max(range(len(bins)), key=lambda n: len(bins[n]))
            halves = bins[largest][::2], bins[largest][1::2]
            bins[largest : largest + 1] = halves
        bins.sort(key=self._tokens, reverse=True)
        size, larger = divmod(len(bins), parts)
        bounds = [n * size + min(n, larger) for n in range(parts + 1)]
        return [bins[begin:end] for begin, end in pairwise(bounds)]

    def _tokens(self, rows: tuple[int, ...]) -> int:
        return int(abs(self._lengths[list(rows)]).sum())
