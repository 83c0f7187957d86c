"""The same pure function over many pieces of work, in worker processes, results in order."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from typing import TypeVar

from imp_data.errors import UserError

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def worker_count() -> int:
    """IMP_WORKERS, or the cores this process may use."""
    asked = os.environ.get("IMP_WORKERS", "").strip()
    if not asked:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if not asked.isdecimal() or int(asked) < 1:
        raise UserError("IMP_WORKERS", f"is {asked!r}", "set it to a whole number from 1 on")
    return int(asked)


def map_ordered(
    function: Callable[[Piece], Result], pieces: Iterable[Piece], workers: int | None = None
) -> Iterator[Result]:
    """`function` of each piece, in the pieces' order, whatever the number of workers.

    At most two pieces a worker are under way, so memory does not grow with the input. One worker
    means this process.
    """
    count = workers or worker_count()
    if count == 1:
        yield from map(function, pieces)
        return
    pool = _pool(count)
    waiting: deque[Future[Result]] = deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) >= 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        _pool.cache_clear()
        raise UserError(
            "a worker process",
            "was ended from outside, most often for want of memory",
            "run again, with a smaller IMP_WORKERS if it happens again; finished stages are kept",
        ) from error
    finally:
        for future in waiting:
            future.cancel()


@lru_cache(maxsize=1)
def _pool(count: int) -> ProcessPoolExecutor:
    """One pool for all stages of a process: its workers import the libraries once.

    A fork server, not a fork: Dagster's process has threads, whose locks a fork would copy shut.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imp_data.records", "imp_data.fingerprints"])
    return ProcessPoolExecutor(count, mp_context=context)
