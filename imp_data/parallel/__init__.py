"""Apply one pure function to many pieces of work, in local processes or on Ray."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from imp_data.errors import UserError
from imp_data.parallel.local import map_locally, worker_count
from imp_data.parallel.worker import Crash

__all__ = ["Crash", "engine_name", "map_ordered", "running_on", "worker_count"]

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_chosen = ContextVar("engine", default="local")


@contextmanager
def use_engine(engine: str) -> Iterator[None]:
    """Set the engine of `map_ordered` for the block, in this context alone."""
    token = _chosen.set(engine)
    try:
        yield
    finally:
        _chosen.reset(token)


def map_ordered(
    function: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    workers: int | None = None,
    on_crash: Callable[[Piece, Crash], Result] | None = None,
    seconds: int | None = None,
    here: bool = False,
) -> Iterator[Result]:
    """Yield `function` of each piece, in the pieces' order, on the engine that IMP_ENGINE names.

    If IMP_ENGINE is unset, use the engine of `use_engine`, or local processes by default.

    At most two pieces per worker are in progress, so memory does not grow with the input. A piece
    whose worker or machine died is run again elsewhere. A piece that kills every process that runs
    it, or uses more than `seconds` of CPU, is passed to `on_crash` in this process; without
    `on_crash`, raise a UserError that names the piece. Raise the exceptions of `function` as
    `error_json` restores them; raise a UserError if memory is exhausted.

    `workers` (or IMP_WORKERS) is the number of local processes; an existing Ray cluster has its own
    number. One local worker means this process, which then crashes itself. With `here`, run
    locally on any engine, for files that only this machine sees.
    """
    if here or engine_name() == "local":
        return map_locally(function, pieces, workers or worker_count(), on_crash, seconds)
    from imp_data.parallel.ray import map_on_ray

    return map_on_ray(function, pieces, workers, on_crash, seconds)


def engine_name() -> str:
    """Return IMP_ENGINE, or if unset the engine of `use_engine`: local or ray."""
    engine = os.environ.get("IMP_ENGINE", "").strip() or _chosen.get()
    if engine not in ("local", "ray"):
        raise UserError("IMP_ENGINE", f"is {engine!r}", "set it to local or ray, or leave it unset")
    return engine
