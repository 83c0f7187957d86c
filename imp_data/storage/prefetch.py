"""Run several requests to an object store concurrently, to hide their latency."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from imp_data.storage.paths import has_latency

_AT_ONCE = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Return a pool kept for the process: closing one waits, which garbage collection must not."""
    return ThreadPoolExecutor(_AT_ONCE, "store")


def map_at(
    place: Path, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield `function` of each item in order: one by one on a local disk, ahead in a store."""
    return map_ahead(function, items) if has_latency(place) else map(function, items)


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `function` of each item in order, with up to 16 calls running ahead.

    `function` must not call `map_ahead` itself, because both share one thread pool.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(_threads().submit(function, item))
            if len(waiting) >= _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
