"""The same pure function over many pieces of work: in processes of this machine, or on Ray."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from imp_data.errors import UserError
from imp_data.parallel.local import map_locally, worker_count
from imp_data.parallel.worker import Died

__all__ = ["Died", "engine_name", "map_ordered", "running_on", "worker_count"]

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_chosen = ContextVar("engine", default="local")


@contextmanager
def running_on(engine: str) -> Iterator[None]:
    """What `map_ordered` runs on inside the block, and in this thread of control alone."""
    token = _chosen.set(engine)
    try:
        yield
    finally:
        _chosen.reset(token)


def map_ordered(
    function: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    workers: int | None = None,
    on_crash: Callable[[Piece, Died], Result] | None = None,
    seconds: int | None = None,
    here: bool = False,
) -> Iterator[Result]:
    """`function` of each piece, in the pieces' order, on the engine that IMP_ENGINE names.

    Where IMP_ENGINE is unset it is that of `running_on`, and local outside of it.

    At most two pieces a worker are under way, so memory does not grow with the input. What a
    worker was at when it died, with its machine or alone, is done again elsewhere. A piece that
    ends every process it is given to, or keeps one busy for more than `seconds`, is asked of
    `on_crash`, in this process; without that it is named in a UserError. An error that `function`
    raises comes through as it is; want of memory is a UserError too.

    `workers` (or IMP_WORKERS) counts processes of this machine; a Ray cluster that is there
    already has its own number. One local worker means this process, which then crashes itself.
    Work on files that only this machine has is done `here`, whatever the engine.
    """
    if here or engine_name() == "local":
        return map_locally(function, pieces, workers or worker_count(), on_crash, seconds)
    from imp_data.parallel.ray import map_on_ray

    return map_on_ray(function, pieces, workers, on_crash, seconds)


def engine_name() -> str:
    """IMP_ENGINE, or where that is unset what `running_on` says: local or ray."""
    engine = os.environ.get("IMP_ENGINE", "").strip() or _chosen.get()
    if engine not in ("local", "ray"):
        raise UserError("IMP_ENGINE", f"is {engine!r}", "set it to local or ray, or leave it unset")
    return engine
