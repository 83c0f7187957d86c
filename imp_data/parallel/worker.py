"""A process that runs one piece of work after another and may crash without harm to others."""

import multiprocessing
import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from threading import Lock, Thread
from typing import NamedTuple, TypeVar

from imp_data.errors import UserError
from imp_data.parallel.error_json import decode_error, encode_error
from imp_data.parallel.pipes import receive, send
from imp_data.storage.heap import trim_heap

Piece = TypeVar("Piece")
Result = TypeVar("Result")

# Signals sent by a user, a batch system, or a kernel that is out of memory. They say nothing about
# the piece, and must not become a fact about it.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGHUP}
_SHOWN_CHARACTERS = 200
_MEMORY = (
    "free memory, or set a smaller IMP_WORKERS, and run the same command again; "
    "finished stages are kept"
)
_CRASHES = "repair or move the file it names, or report the crash; finished stages are kept"
# A process that multiprocessing starts imports the main script again.
_OWN_SCRIPT = f'in your own script, start below `if __name__ == "__main__":`; else {_CRASHES}'
# Wall-clock seconds allowed per CPU second of a piece's limit, for busy machines.
_PATIENCE = 10
# multiprocessing loses an exit code if another thread starts a process at that moment.
_STARTING_OR_ENDING = Lock()


class Raised(NamedTuple):
    """An exception of the function as JSON: a value, which no engine wraps in its own error."""

    error_json: str


class Crash(NamedTuple):
    """The end of a process while it ran a piece, as multiprocessing's exit code."""

    exit_code: int

    @property
    def too_long(self) -> bool:
        """Whether the piece exceeded its limit of CPU seconds."""
        return -self.exit_code == signal.SIGXCPU

    @property
    def stalled(self) -> bool:
        """Whether the process was killed for neither returning a result nor using its CPU limit."""
        return -self.exit_code == signal.SIGALRM


class Worker:
    """Starts a process, which ends with this object or with the process that holds it."""

    def __init__(self) -> None:
        # Not fork: Dagster's process has threads, whose held locks a fork would copy.
        context = multiprocessing.get_context("forkserver")
        # pandas too: pyarrow imports it, if installed, when it creates its first array.
        context.set_forkserver_preload(
            ["imp_data.records.build", "imp_data.images.fingerprint_cache", "pandas"]
        )
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _STARTING_OR_ENDING:
            self._process.start()
        theirs.close()

    def do(
        self, function: Callable[[Piece], Result], piece: Piece, seconds: int | None = None
    ) -> Result | Raised | Crash:
        """Run one piece. After a crash this worker is unusable."""
        message = pickle.dumps((function, piece, seconds))
        try:
            self._pipe.send_bytes(message)
            if seconds is not None and not self._pipe.poll(_PATIENCE * seconds):
                self.end()
                return Crash(-signal.SIGALRM)
            outcome: Result | Raised = receive(self._pipe)
        except (EOFError, OSError):
            with _STARTING_OR_ENDING:
                self._process.join()
            return Crash(self._process.exitcode or 0)
        return outcome

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, whose end ends this
    Thread(target=_end_with_parent, daemon=True).start()
    trim_heap()
    with suppress(EOFError, OSError):
        while True:
            send(pipe, run_caught(_run_message, pipe.recv_bytes()))


def _end_with_parent() -> None:
    """Kill this process when its parent ends.

    Otherwise a build that is restarted at once might write to the same files as this process.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def _run_message(message: bytes) -> object:
    function, piece, seconds = pickle.loads(message)
    with limit_cpu_seconds(seconds):
        return function(piece)


@contextmanager
def limit_cpu_seconds(seconds: int | None) -> Iterator[None]:
    """Let the kernel end this process by SIGXCPU after so many CPU seconds in the block.

    CPU seconds, not wall-clock seconds: a disk that does not respond is no fact about a piece.
    """
    if seconds is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_CPU)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    hard = before[1]
    soft = until if hard == resource.RLIM_INFINITY else min(until, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, before)


def run_caught(function: Callable[[Piece], Result], piece: Piece) -> Result | Raised:
    """Return the result, or the exception as a value."""
    try:
        return function(piece)
    except Exception as error:
        return Raised(encode_error(error))


def unwrap_outcome(
    outcome: Result | Raised | Crash,
    piece: Piece,
    on_crash: Callable[[Piece, Crash], Result] | None,
) -> Result:
    """Return the result, raise the exception, or return `on_crash` of a piece that crashes."""
    if not isinstance(outcome, Raised | Crash):
        return outcome
    where = f"piece of work {' '.join(repr(piece).split())[:_SHOWN_CHARACTERS]}"
    if isinstance(outcome, Raised):
        error = decode_error(outcome.error_json)
        if isinstance(error, MemoryError):
            raise UserError(where, "memory is not sufficient for it", _MEMORY) from error
        raise error
    if outcome.stalled:
        raise UserError(
            where,
            "its process returned no result and used little CPU, as when a disk does not respond",
            "check that the data directory responds, and run the same command again; if it fails "
            "again, repair or move the file it names",
        )
    if -outcome.exit_code in _FROM_OUTSIDE:
        raise UserError(
            where,
            f"two processes that ran it were killed from outside ({_name(outcome.exit_code)}), "
            "mostly because memory is exhausted",
            _MEMORY,
        )
    if on_crash is None:
        raise UserError(
            where,
            f"it crashes every process that runs it ({_name(outcome.exit_code)})",
            _OWN_SCRIPT if outcome.exit_code > 0 else _CRASHES,
        )
    return on_crash(piece, outcome)


def _name(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit status {exit_code}"
