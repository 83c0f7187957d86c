"""Requests to a store, which answers late, but many at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

_AT_ONCE = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Kept: ending a pool waits for its threads, which must not happen as garbage is freed."""
    return ThreadPoolExecutor(_AT_ONCE, "store")


def at_once(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of each in order, some under way: a store answers late, but many at a time.

    `function` must not itself use this.
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
