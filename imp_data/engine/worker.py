"""A process that does one piece of work after another, and may crash without harm to others."""

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Lock
from typing import NamedTuple, TypeVar

from imp_data.errors import UserError

Piece = TypeVar("Piece")
Result = TypeVar("Result")

# Sent from outside: by a person, a batch system, or a kernel that is out of memory. That says
# nothing about the piece, and must not become a fact about it.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGHUP}
_SHOWN_CHARACTERS = 200
# multiprocessing forgets how a process ended where another thread starts one at that moment.
_STARTING_OR_ENDING = Lock()


class Raised(NamedTuple):
    """What the function raised: a value here, so that no engine wraps it in an error of its own."""

    error: Exception


class Died(NamedTuple):
    """How a process ended under its piece: as multiprocessing's exit codes say it."""

    exit_code: int


class Worker:
    """Starts a process, which ends with this object or with this object's process."""

    def __init__(self) -> None:
        # Not a fork: Dagster's process has threads, whose locks a fork would copy shut.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["imp_data.records", "imp_data.fingerprints"])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _STARTING_OR_ENDING:
            self._process.start()
        theirs.close()

    def do(self, function: Callable[[Piece], Result], piece: Piece) -> Result | Raised | Died:
        """What came of one piece; after a Died this worker is of no more use."""
        message = pickle.dumps((function, piece))
        try:
            self._pipe.send_bytes(message)
            outcome: Result | Raised = self._pipe.recv()
        except (EOFError, OSError):
            with _STARTING_OR_ENDING:
                self._process.join()
            return Died(self._process.exitcode or 0)
        return outcome


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends this
    with suppress(EOFError, OSError):
        while True:
            pipe.send(attempt(_unpack_and_do, pipe.recv_bytes()))


def _unpack_and_do(message: bytes) -> object:
    function, piece = pickle.loads(message)
    return function(piece)


def attempt(function: Callable[[Piece], Result], piece: Piece) -> Result | Raised:
    """The result, or what was raised instead."""
    try:
        return function(piece)
    except Exception as error:
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        return Raised(error)


def result_of(
    outcome: Result | Raised | Died, piece: Piece, on_crash: Callable[[Piece], Result] | None
) -> Result:
    """The result; what was raised is raised here; `on_crash` says what a crash comes to."""
    if isinstance(outcome, Raised):
        raise outcome.error
    if not isinstance(outcome, Died):
        return outcome
    where = f"piece of work {' '.join(repr(piece).split())[:_SHOWN_CHARACTERS]}"
    if -outcome.exit_code in _FROM_OUTSIDE:
        raise UserError(
            where,
            f"two processes were ended over it from outside ({_name(outcome.exit_code)}), "
            "most often for want of memory",
            "make memory free, or set a smaller IMP_WORKERS, and run the same command again; "
            "finished stages are kept",
        )
    if on_crash is None:
        raise UserError(
            where,
            f"it crashes each process that works on it ({_name(outcome.exit_code)})",
            "take out or mend what it names, or report the crash; finished stages are kept",
        )
    return on_crash(piece)


def _name(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit status {exit_code}"
