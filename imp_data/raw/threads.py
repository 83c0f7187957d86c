"""Run calls in threads; the first error ends the others."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

Result = TypeVar("Result")


def run_in_threads(
    calls: Sequence[Callable[[], Result]], threads: int, stop: Event
) -> list[Result]:
    """Return the results in the order of the calls; at most `threads` run at a time.

    After an exception or an interrupt set `stop`, which the running calls have to obey, and start
    no further call. Raise the exception that occurred first in the order of the calls.
    """
    if threads < 2 or len(calls) < 2:
        return [call() for call in calls]
    with ThreadPoolExecutor(min(threads, len(calls))) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = [f for f in futures if f in done and not f.cancelled() and f.exception()]
            for future in failed:
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
