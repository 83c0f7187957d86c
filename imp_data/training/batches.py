"""Which rows each step takes: the same ones whatever the number of devices."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Order = Callable[[int], Sequence[Any]]


class Batches:
    """One device's batches of an epoch, as DataLoader's batch_sampler.

    A step takes the next `global_batch` items of the epoch's order, dealt in batches of
    `per_device` to the devices in turn. The last step is filled up from the epoch's beginning, so
    that every step weighs the same on any number of devices.
    """

    def __init__(
        self, order: Order, global_batch: int, per_device: int, devices: int = 1, device: int = 0
    ) -> None:
        self._order, self._global_batch, self._per_device = order, global_batch, per_device
        self._devices, self._device = devices, device
        self._steps = -(-len(order(0)) // global_batch)
        self._epoch = 0

    @property
    def batch_sampler(self) -> "Batches":
        """Itself: where transformers' Trainer looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Begin that epoch, counted from 0, at the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._steps * self._global_batch // (self._per_device * self._devices)

    def __iter__(self) -> Iterator[list[Any]]:
        order = self._order(self._epoch)
        stride = self._per_device * self._devices
        for start in range(
            self._device * self._per_device, self._steps * self._global_batch, stride
        ):
            yield [order[n % len(order)] for n in range(start, start + self._per_device)]
