"""Call a function in its own process with limits on memory and time."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def apart(function: Callable[..., Any], *arguments: Any, seconds: float, mib: int) -> Any:
    """Return the result, or a str that states the exceeded limit or the raised error."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_do, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            return f"took more than {seconds:g} s"
        result, peak = ours.recv()
    except EOFError:
        process.join()
        how = process.exitcode or 0
        return f"ended its process ({signal.Signals(-how).name if how < 0 else how})"
    finally:
        process.kill()
        process.join()
    return result if peak <= mib else f"took {peak:,} MiB, more than {mib}"


def _do(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _peak_kib()
    # What decoders print of damaged bytes is in what they raise.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        result = function(*arguments)
    except BaseException as error:
        result = f"{type(error).__name__}: {error}"
    pipe.send((result, (_peak_kib() - before) >> 10))
    pipe.close()
    os._exit(0)


def _peak_kib() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0  # no Linux: only the time is bounded
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
