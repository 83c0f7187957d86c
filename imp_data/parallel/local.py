"""Run pieces of work in local processes, any of which may die."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from threading import Event, local
from typing import TypeVar
from weakref import WeakSet

from imp_data.errors import UserError
from imp_data.parallel.worker import Crash, Raised, Worker, unwrap_outcome

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def worker_count() -> int:
    """Return IMP_WORKERS, or by default the number of usable cores, at least two.

    One would mean this process, and a crash of a decoder would end the build.
    """
    setting = os.environ.get("IMP_WORKERS", "").strip()
    if not setting:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        return max(cores, 2)
    if not setting.isdecimal() or int(setting) < 1:
        raise UserError("IMP_WORKERS", f"is {setting!r}", "set it to a whole number from 1 on")
    return int(setting)


def map_locally(
    function: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    workers: int,
    on_crash: Callable[[Piece, Crash], Result] | None,
    seconds: int | None,
) -> Iterator[Result]:
    """Implement `map_ordered` with local processes."""
    if workers == 1:
        yield from map(function, pieces)
        return
    threads, interrupted = _threads(workers), Event()
    waiting: deque[tuple[Piece, Future[Result | Raised | Crash]]] = deque()

    def first() -> Result:
        piece, future = waiting.popleft()
        return unwrap_outcome(future.result(), piece, on_crash)

    try:
        for piece in pieces:
            waiting.append((piece, threads.submit(_do, function, piece, seconds, interrupted)))
            if len(waiting) >= 2 * workers:
                yield first()
        while waiting:
            yield first()
    except (Exception, GeneratorExit):
        raise
    except BaseException:  # Ctrl-C, and what Dagster raises for it: a piece may never end
        interrupted.set()
        for worker in list(_workers):
            worker.end()
        raise
    finally:
        for _, future in waiting:
            future.cancel()


# Not ProcessPoolExecutor: its processes all end when one dies, without stating which piece it ran,
# and in Python 3.11 it waits forever for a process started at that moment.
@lru_cache(maxsize=1)
def _threads(workers: int) -> ThreadPoolExecutor:
    """Return a pool kept for all stages; each thread has a worker process with loaded libraries."""
    return ThreadPoolExecutor(workers, "worker")


_own = local()
_workers: WeakSet[Worker] = WeakSet()


def _do(
    function: Callable[[Piece], Result], piece: Piece, seconds: int | None, interrupted: Event
) -> Result | Raised | Crash:
    """Run a piece in one of the threads; if its process dies, try once more in a new one."""
    outcome = _attempt(function, piece, seconds)
    if isinstance(outcome, Crash) and not (outcome.too_long or outcome.stalled):
        outcome = outcome if interrupted.is_set() else _attempt(function, piece, seconds)
    return outcome


def _attempt(
    function: Callable[[Piece], Result], piece: Piece, seconds: int | None
) -> Result | Raised | Crash:
    """Run a piece in this thread's process, starting one if there is none."""
    if not hasattr(_own, "worker"):
        _own.worker = Worker()
        _workers.add(_own.worker)
    outcome: Result | Raised | Crash = _own.worker.do(function, piece, seconds)
    if isinstance(outcome, Crash):
        del _own.worker
    return outcome
