"""Run calls in threads; the first error ends the others."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from functools import partial
from threading import Event, Lock, Thread
from typing import TypeVar

Result = TypeVar("Result")
_CLAIMS = Lock()
# A call may be in a pause before its next attempt; it ends when it looks at `stop` again.
_JOIN_SECONDS = 5.0


def run_in_threads(
    calls: Sequence[Callable[[], Result]], threads: int, stop: Event
) -> list[Result]:
    """Return the results in the order of the calls; at most `threads` run at a time.

    After an exception or an interrupt set `stop`, which the running calls have to obey, and start
    no further call. Raise the exception that occurred first.
    """
    if threads < 2 or len(calls) < 2:
        return [call() for call in calls]
    errors: list[BaseException] = []

    def guard(call: Callable[[], Result]) -> Result:
        try:
            return call()
        except BaseException as error:
            errors.append(error)
            stop.set()
            raise

    futures = [Future[Result]() for _ in calls]
    running = start_threads([partial(guard, call) for call in calls], futures, threads, stop)
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    except BaseException:
        stop.set()
        raise
    if errors:
        for thread in running:
            thread.join(_JOIN_SECONDS)
        raise errors[0]
    return [future.result() for future in futures]


def start_threads(
    calls: Sequence[Callable[[], Result]],
    futures: Sequence["Future[Result]"],
    threads: int,
    stop: Event,
) -> list[Thread]:
    """Start threads that make the calls in order; skip calls whose future is running already.

    Not ThreadPoolExecutor: an interpreter that ends waits for its threads, for hours of download.
    """

    def work() -> None:
        for call, future in zip(calls, futures, strict=True):
            if not stop.is_set() and claim(future):
                complete(future, call)

    started = [Thread(target=work, daemon=True) for _ in range(min(threads, len(calls)))]
    for thread in started:
        thread.start()
    return started


def claim(future: "Future[Result]") -> bool:
    """Mark a future as running; return False if another thread did so before."""
    with _CLAIMS:
        if future.running() or future.done():
            return False
        return future.set_running_or_notify_cancel()


def complete(future: "Future[Result]", call: Callable[[], Result]) -> None:
    """Make the call and store its result or its exception in the future."""
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
