"""A process that does one piece of work after another, and may crash without harm to others."""

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

# Sent from outside: by a person, a batch system, or a kernel that is out of memory. That says
# nothing about the piece, and must not become a fact about it.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGHUP}
_SHOWN_CHARACTERS = 200
_MEMORY = (
    "make memory free, or set a smaller IMP_WORKERS, and run the same command again; "
    "finished stages are kept"
)
_CRASHES = "take out or mend what it names, or report the crash; finished stages are kept"
# A process that multiprocessing starts imports the script again.
_OWN_SCRIPT = f'in a script of your own, begin below `if __name__ == "__main__":`; else {_CRASHES}'
# How many times its seconds of work a piece may take by the clock, on a busy machine.
_PATIENCE = 10
# multiprocessing forgets how a process ended where another thread starts one at that moment.
_STARTING_OR_ENDING = Lock()


class Raised(NamedTuple):
    """An exception of the function as JSON: a value, which no engine wraps in its own error."""

    error_json: str


class Died(NamedTuple):
    """How a process ended under its piece: as multiprocessing's exit codes say it."""

    exit_code: int

    @property
    def too_long(self) -> bool:
        """Whether it had used up the seconds of work that a piece may take."""
        return -self.exit_code == signal.SIGXCPU

    @property
    def stalled(self) -> bool:
        """Whether it was ended because neither a result came nor were its seconds used up."""
        return -self.exit_code == signal.SIGALRM


class Worker:
    """Starts a process, which ends with this object or with this object's process."""

    def __init__(self) -> None:
        # Not a fork: Dagster's process has threads, whose locks a fork would copy shut.
        context = multiprocessing.get_context("forkserver")
        # pandas too: pyarrow imports it, where it is installed, when it makes its first array.
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
    ) -> Result | Raised | Died:
        """What came of one piece; after a Died this worker is of no more use."""
        message = pickle.dumps((function, piece, seconds))
        try:
            self._pipe.send_bytes(message)
            if seconds is not None and not self._pipe.poll(_PATIENCE * seconds):
                self.end()
                return Died(-signal.SIGALRM)
            outcome: Result | Raised = receive(self._pipe)
        except (EOFError, OSError):
            with _STARTING_OR_ENDING:
                self._process.join()
            return Died(self._process.exitcode or 0)
        return outcome

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends this
    Thread(target=_end_with_parent, daemon=True).start()
    trim_heap()
    with suppress(EOFError, OSError):
        while True:
            send(pipe, attempt(_unpack_and_do, pipe.recv_bytes()))


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, and end it, whatever it is at.

    A build that is begun again at once may write where a piece of the killed one writes.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def _unpack_and_do(message: bytes) -> object:
    function, piece, seconds = pickle.loads(message)
    with working_at_most(seconds):
        return function(piece)


@contextmanager
def working_at_most(seconds: int | None) -> Iterator[None]:
    """The kernel ends this process by SIGXCPU when the block has kept it busy for so long.

    Seconds of work, not of the clock: a disk that does not answer is no fact about a piece.
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


def attempt(function: Callable[[Piece], Result], piece: Piece) -> Result | Raised:
    """The result, or what was raised instead."""
    try:
        return function(piece)
    except Exception as error:
        return Raised(encode_error(error))


def result_of(
    outcome: Result | Raised | Died, piece: Piece, on_crash: Callable[[Piece, Died], Result] | None
) -> Result:
    """The result; what was raised is raised here; `on_crash` says what a crash comes to."""
    if not isinstance(outcome, Raised | Died):
        return outcome
    where = f"piece of work {' '.join(repr(piece).split())[:_SHOWN_CHARACTERS]}"
    if isinstance(outcome, Raised):
        error = decode_error(outcome.error_json)
        if isinstance(error, MemoryError):
            raise UserError(where, "there was not memory enough for it", _MEMORY) from error
        raise error
    if outcome.stalled:
        raise UserError(
            where,
            "no result came, and its process was hardly working, as when a disk does not answer",
            "see that the data directory answers, and run the same command again; if it ends here "
            "again, take out or mend what it names",
        )
    if -outcome.exit_code in _FROM_OUTSIDE:
        raise UserError(
            where,
            f"two processes were ended over it from outside ({_name(outcome.exit_code)}), "
            "most often for want of memory",
            _MEMORY,
        )
    if on_crash is None:
        raise UserError(
            where,
            f"it crashes each process that works on it ({_name(outcome.exit_code)})",
            _OWN_SCRIPT if outcome.exit_code > 0 else _CRASHES,
        )
    return on_crash(piece, outcome)


def _name(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit status {exit_code}"
