"""Run pieces of work on a Ray cluster of equal software and a shared data directory."""

import logging
import os
import platform
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib.metadata import requires
from typing import TYPE_CHECKING, TypeVar

from imp_data.errors import UserError
from imp_data.parallel.error_json import encode_error
from imp_data.parallel.local import worker_count
from imp_data.parallel.worker import (
    Crash,
    Raised,
    Worker,
    limit_cpu_seconds,
    run_caught,
    unwrap_outcome,
)
from imp_data.storage.digests import library_versions, package_digest

if TYPE_CHECKING:
    import ray

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_INSTALL = "install the same release on every node, with pip install -c constraints.txt"
# How often Ray retries a piece whose worker or node died.
_MAX_RETRIES = 3


def map_on_ray(
    function: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    workers: int | None,
    on_crash: Callable[[Piece, Crash], Result] | None,
    seconds: int | None,
) -> Iterator[Result]:
    """Implement `map_ordered` on Ray."""
    _connect(workers)
    import ray

    expected = _software(_libraries())
    task = ray.remote(_attempt_on_node).options(
        num_cpus=1, max_retries=_MAX_RETRIES, name=_name(function)
    )
    waiting: deque[tuple[Piece, ray.ObjectRef[Result | Raised]]] = deque()

    def first() -> Result:
        piece, reference = waiting.popleft()
        return unwrap_outcome(_outcome(reference, function, piece, seconds), piece, on_crash)

    try:
        for piece in pieces:
            waiting.append((piece, task.remote(function, expected, piece, seconds)))
            # Read each time, because nodes join and leave.
            while len(waiting) >= 2 * max(1, int(ray.cluster_resources().get("CPU", 1))):
                yield first()
        while waiting:
            yield first()
    finally:
        for _, reference in waiting:
            ray.cancel(reference)


def _outcome(
    reference: "ray.ObjectRef[Result | Raised]",
    function: Callable[[Piece], Result],
    piece: Piece,
    seconds: int | None,
) -> Result | Raised | Crash:
    """Wait for a piece; if its node died on every attempt, run it on this machine."""
    import ray
    from ray.exceptions import (
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayTaskError,
        WorkerCrashedError,
    )

    try:
        outcome: Result | Raised = ray.get(reference)
    except (NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError):
        return Worker().do(function, piece, seconds)  # locally, to learn how it ends
    except RayTaskError as error:
        why = " ".join(str(error.cause).split())
        raise UserError("a Ray worker", f"cannot start ({why})", _INSTALL) from error
    return outcome


def _connect(workers: int | None) -> None:
    """Connect to the cluster at RAY_ADDRESS; if unset, start one of local processes."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "IMP_ENGINE or the mixture's `engine`",
            "selects Ray, which is not installed",
            "pip install 'imp-data[ray]'",
        ) from None
    if ray.is_initialized():
        return
    # Log errors only: Ray's notices would interrupt the lines of progress.
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS", "").strip()
    if not address:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        cpus = workers or worker_count()
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        return
    try:
        _check_listening(address)
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            "RAY_ADDRESS",
            f"cannot join a cluster at {address} ({error})",
            "start one with `ray start --head`, correct address or RAY_AUTH_TOKEN, or unset both",
        ) from error


def _check_listening(address: str) -> None:
    """Raise OSError if nothing listens: Ray itself waits two minutes, and then exits."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _name(function: Callable[..., object]) -> str:
    """Return the name of the tasks in Ray's dashboard."""
    return str(getattr(getattr(function, "func", function), "__name__", "work"))


def _attempt_on_node(
    function: Callable[[Piece], Result],
    expected: dict[str, str],
    piece: Piece,
    seconds: int | None,
) -> Result | Raised:
    """Run a piece on a node of equal software; other versions might give other bytes."""
    here = _software(tuple(name for name in expected if name not in _OWN))
    if here == expected:
        with limit_cpu_seconds(seconds):
            return run_caught(function, piece)
    differing = [f"{n} {here[n]} in place of {expected[n]}" for n in here if here[n] != expected[n]]
    where = f"Ray node {platform.node()}"
    error = UserError(where, f"it has {', '.join(differing)}", _INSTALL)
    return Raised(encode_error(error))


_OWN = ("imp_data's code", "machine")


@lru_cache(maxsize=1)
def _software(libraries: tuple[str, ...]) -> dict[str, str]:
    """Return all that may affect the bytes: our code, the machine type, library versions."""
    own = (package_digest(), platform.machine())
    return {**dict(zip(_OWN, own, strict=True)), **library_versions(*libraries)}


def _libraries() -> tuple[str, ...]:
    """Return the requirements of imp-data without extras."""
    lines = [line for line in requires("imp-data") or () if "extra ==" not in line]
    return tuple(sorted(re.split(r"[^\w.-]", line)[0] for line in lines))
