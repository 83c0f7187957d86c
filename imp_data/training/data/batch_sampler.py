"""Which rows each step takes: the same ones whatever the number of devices."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from imp_data.training.data.sampling import Lengths, packed
from imp_data.training.data.token_weights import Pick

Order = Callable[[int], Sequence[int]]
# A step's rows as the batches of all devices, always equally many: lists of places in the step, or,
# packed, of tuples of places.
Deal = Callable[[Sequence[int]], list[list[Any]]]
# A step's rows with the weights of their tokens in the step's loss.
Weigh = Callable[[Sequence[int]], Sequence[Pick]]


class Batches:
    """One device's batches of an epoch, as DataLoader's batch_sampler.

    A step takes the next `global_batch` rows of the epoch's order, in `parts` batches that go to
    the devices in turn; a batch is a list of Picks, or, packed, of tuples of Picks. The last step
    is filled up from the epoch's beginning, so that every step weighs the same on any number of
    devices.
    """

    def __init__(
        self,
        order: Order,
        global_batch: int,
        parts: int,
        deal: Deal,
        weigh: Weigh,
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
            picks = self._weigh(rows)
            for batch in self._deal(rows)[self._device :: self._devices]:
                yield [
                    tuple(picks[n] for n in place) if isinstance(place, tuple) else picks[place]
                    for place in batch
                ]


def steps_of(order: Sequence[int], global_batch: int) -> Iterator[list[int]]:
    """An epoch's rows by steps, the last filled up from its beginning."""
    for begin in range(0, len(order), global_batch):
        yield [order[n % len(order)] for n in range(begin, begin + global_batch)]


def in_turn(per_device: int) -> Deal:
    """Batches of so many rows, as they come."""

    def deal(rows: Sequence[int]) -> list[list[int]]:
        places = list(range(len(rows)))
        return [places[n : n + per_device] for n in places[::per_device]]

    return deal


class Packing:
    """A step's rows in bins of up to `max_length` tokens; a batch is a list of bins.

    A bin is a tuple of places in the step, and one sequence. A step is of the same rows as it would
    be without packing, each with the weight that it has there, and so its gradient is the same.
    """

    def __init__(self, lengths: Lengths, max_length: int) -> None:
        self._lengths, self._max_length = lengths, max_length

    def bins(self, rows: Sequence[int]) -> list[tuple[int, ...]]:
        """The fullest first."""
        bins = packed(self._lengths[list(rows)], self._max_length)
        return sorted(bins, key=partial(self._tokens, rows), reverse=True)

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
        bins.sort(key=partial(self._tokens, rows), reverse=True)
        size, larger = divmod(len(bins), parts)
        bounds = [n * size + min(n, larger) for n in range(parts + 1)]
        return [bins[begin:end] for begin, end in pairwise(bounds)]

    def _tokens(self, rows: Sequence[int], places: tuple[int, ...]) -> int:
        return int(abs(self._lengths[[rows[n] for n in places]]).sum())
