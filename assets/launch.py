"""A step's work in a process of its own, which tells through Dagster Pipes how it stands."""

import os
import signal
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from imp_data.errors import UserError
from imp_data.redaction import redacted

_LINES_KEPT = 12
_SECONDS_TO_END = 20


def launch(command: Sequence[str]) -> dict[str, Any]:
    """Run a command; returns what it reported, the newest figure of each name.

    PipesSubprocessClient does the same, but keeps no line of what a command that fails has said.
    """
    context = dg.AssetExecutionContext.get().op_execution_context
    injector, reader = dg.PipesTempFileContextInjector(), dg.PipesTempFileMessageReader()
    with warnings.catch_warnings():
        # Dagster 1.13 warns of a property that is new, and that it asks for itself.
        warnings.filterwarnings("ignore", message=".*expected_writer_count")
        with dg.open_pipes_session(context, injector, reader) as session:
            _run(command, session.get_bootstrap_env_vars())
    return {k: v for message in session.get_custom_messages() for k, v in message.items()}


def _run(command: Sequence[str], variables: Mapping[str, str]) -> None:
    said: deque[str] = deque(maxlen=_LINES_KEPT)
    with subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
    ) as process:
        try:
            for line in process.stderr or ():
                sys.stderr.write(redacted(line))
                said.append(line)
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait(_SECONDS_TO_END)
            raise
    if process.returncode:
        raise _failure(command, process.returncode, list(said))


def _failure(command: Sequence[str], status: int, said: list[str]) -> UserError:
    """A UserError of the command as it printed it; of anything else its last lines."""
    begins = [n for n, line in enumerate(said) if line.startswith("imp-data: ")]
    if begins:
        text = "".join(said[begins[-1] :]).removeprefix("imp-data: ").strip()
        told, _, remedy = text.partition("\n  What to do: ")
        where, _, problem = told.partition(": ")
        return UserError(where, problem, remedy)
    return UserError(
        " ".join(command[1:5]),
        f"ended with status {status}: {''.join(said).strip() or 'it said nothing'}",
        "run the same command again to go on from the last checkpoint",
    )
