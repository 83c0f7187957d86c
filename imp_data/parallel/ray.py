"""A Ray cluster whose nodes see the data directory under one path and run the same software."""

import logging
import os
import platform
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib.metadata import requires
from typing import TypeVar

from imp_data.errors import UserError
from imp_data.parallel.error_json import encode_error
from imp_data.parallel.local import worker_count
from imp_data.parallel.worker import Died, Raised, Worker, attempt, result_of, working_at_most
from imp_data.storage.digests import library_versions, package_digest

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_INSTALL = "install the same release on every node, with pip install -c constraints.txt"
# So often is a piece given to another worker when its own, or its node, died under it.
_MAX_RETRIES = 3


def map_on_ray(
    function: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    workers: int | None,
    on_crash: Callable[[Piece, Died], Result] | None,
    seconds: int | None,
) -> Iterator[Result]:
    """See `map_ordered`."""
    _connect(workers)
    import ray
    from ray.exceptions import (
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayTaskError,
        WorkerCrashedError,
    )

    expected = _software(_libraries())
    task = ray.remote(_attempt_alike).options(
        num_cpus=1, max_retries=_MAX_RETRIES, name=_name(function)
    )
    waiting: deque[tuple[Piece, ray.ObjectRef[Result | Raised]]] = deque()

    def first() -> Result:
        piece, reference = waiting.popleft()
        try:
            outcome: Result | Raised | Died = ray.get(reference)
        except (NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError):
            outcome = Worker().do(function, piece, seconds)  # here, where one sees how it ends
        except RayTaskError as error:
            why = " ".join(str(error.cause).split())
            raise UserError("a Ray worker", f"could not begin ({why})", _INSTALL) from error
        return result_of(outcome, piece, on_crash)

    try:
        for piece in pieces:
            waiting.append((piece, task.remote(function, expected, piece, seconds)))
            # Asked each time, because nodes come and go.
            while len(waiting) >= 2 * max(1, int(ray.cluster_resources().get("CPU", 1))):
                yield first()
        while waiting:
            yield first()
    finally:
        for _, reference in waiting:
            ray.cancel(reference)


def _connect(workers: int | None) -> None:
    """To the cluster at RAY_ADDRESS; where that is unset, to one of this machine's processes."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "IMP_ENGINE or the mixture's `engine`",
            "asks for Ray, which is not installed",
            "pip install 'imp-data[ray]'",
        ) from None
    if ray.is_initialized():
        return
    # Only errors are told: Ray's own notes would stand between the lines of the progress.
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS", "").strip()
    if not address:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        cpus = workers or worker_count()
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        return
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            "RAY_ADDRESS",
            f"no cluster can be joined at {address} ({error})",
            "start one with `ray start --head`, mend the address or RAY_AUTH_TOKEN, or unset both",
        ) from error


def _knock(address: str) -> None:
    """OSError if nobody answers: Ray itself takes two minutes to say so, and then exits."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _name(function: Callable[..., object]) -> str:
    """What Ray's dashboard calls the tasks."""
    return str(getattr(getattr(function, "func", function), "__name__", "work"))


def _attempt_alike(
    function: Callable[[Piece], Result],
    expected: dict[str, str],
    piece: Piece,
    seconds: int | None,
) -> Result | Raised:
    """Run on a node. Other versions there could give other bytes, and nobody would notice."""
    here = _software(tuple(name for name in expected if name not in _OWN))
    if here == expected:
        with working_at_most(seconds):
            return attempt(function, piece)
    differing = [f"{n} {here[n]} in place of {expected[n]}" for n in here if here[n] != expected[n]]
    where = f"Ray node {platform.node()}"
    error = UserError(where, f"it has {', '.join(differing)}", _INSTALL)
    return Raised(encode_error(error))


_OWN = ("imp_data's code", "machine")


@lru_cache(maxsize=1)
def _software(libraries: tuple[str, ...]) -> dict[str, str]:
    """What may show in the bytes: our own code, the kind of machine, versions of libraries."""
    own = (package_digest(), platform.machine())
    return {**dict(zip(_OWN, own, strict=True)), **library_versions(*libraries)}


def _libraries() -> tuple[str, ...]:
    """What imp-data requires, without its extras."""
    lines = [line for line in requires("imp-data") or () if "extra ==" not in line]
    return tuple(sorted(re.split(r"[^\w.-]", line)[0] for line in lines))
