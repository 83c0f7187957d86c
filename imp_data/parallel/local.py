"""Processes of this machine, one of which may die at any time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from threading import Event, local
from typing import TypeVar
from weakref import WeakSet

from imp_data.errors import UserError
from imp_data.parallel.worker import Died, Raised, Worker, result_of

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def worker_count() -> int:
    """IMP_WORKERS, or the cores this process may use, but two at least.

    One would mean this process, and a decoder that crashes would take the build along.
    """
    asked = os.environ.get("IMP_WORKERS", "").strip()
    if not asked:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        return max(cores, 2)
    if not asked.isdecimal() or int(asked) < 1:
        raise UserError("IMP_WORKERS", f"is {asked!r}", "set it to a whole number from 1 on")
    return int(asked)


def map_locally(
    function: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    workers: int,
    on_crash: Callable[[Piece, Died], Result] | None,
    seconds: int | None,
) -> Iterator[Result]:
    """See `map_ordered`."""
    if workers == 1:
        yield from map(function, pieces)
        return
    threads, interrupted = _threads(workers), Event()
    waiting: deque[tuple[Piece, Future[Result | Raised | Died]]] = deque()

    def first() -> Result:
        piece, future = waiting.popleft()
        return result_of(future.result(), piece, on_crash)

    try:
        for piece in pieces:
            waiting.append((piece, threads.submit(_do, function, piece, seconds, interrupted)))
            if len(waiting) >= 2 * workers:
                yield first()
        while waiting:
            yield first()
    except (Exception, GeneratorExit):
        raise
    except BaseException:  # Ctrl-C, and what Dagster makes of it: pieces may take long, or for ever
        interrupted.set()
        for worker in list(_workers):
            worker.end()
        raise
    finally:
        for _, future in waiting:
            future.cancel()


# Not ProcessPoolExecutor: there one process that dies takes all others along and leaves open which
# piece it was, and in Python 3.11 a process started at that moment is waited for forever.
@lru_cache(maxsize=1)
def _threads(workers: int) -> ThreadPoolExecutor:
    """Kept for all stages, each thread with a worker process that has the libraries loaded."""
    return ThreadPoolExecutor(workers, "worker")


_own = local()
_workers: WeakSet[Worker] = WeakSet()


def _do(
    function: Callable[[Piece], Result], piece: Piece, seconds: int | None, interrupted: Event
) -> Result | Raised | Died:
    """Run in one of the threads. If its process dies of it, a new one tries again."""
    outcome = _attempt(function, piece, seconds)
    if isinstance(outcome, Died) and not (outcome.too_long or outcome.stalled):
        outcome = outcome if interrupted.is_set() else _attempt(function, piece, seconds)
    return outcome


def _attempt(
    function: Callable[[Piece], Result], piece: Piece, seconds: int | None
) -> Result | Raised | Died:
    """Done by this thread's process; if it dies, the thread has none until the next piece."""
    if not hasattr(_own, "worker"):
        _own.worker = Worker()
        _workers.add(_own.worker)
    outcome: Result | Raised | Died = _own.worker.do(function, piece, seconds)
    if isinstance(outcome, Died):
        del _own.worker
    return outcome
