"""Run a step's work in a new process, which reports its progress through Dagster Pipes."""

import os
import signal
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from imp_data.errors import UserError
from imp_data.parallel.error_json import ERROR_FILE, read_error
from imp_data.redaction import redact

_MAX_LINES = 12
_SECONDS_TO_END = 20


def launch(command: Sequence[str]) -> dict[str, Any]:
    """Run a command; return the figures it reported, the newest value of each.

    PipesSubprocessClient does the same, but keeps no output of a command that fails.
    """
    context = dg.AssetExecutionContext.get().op_execution_context
    injector, reader = dg.PipesTempFileContextInjector(), dg.PipesTempFileMessageReader()
    with warnings.catch_warnings():
        # Dagster 1.13 warns about a new property that it reads itself.
        warnings.filterwarnings("ignore", message=".*expected_writer_count")
        with dg.open_pipes_session(context, injector, reader) as session:
            _run(command, session.get_bootstrap_env_vars())
    return {k: v for message in session.get_custom_messages() for k, v in message.items()}


def _run(command: Sequence[str], variables: Mapping[str, str]) -> None:
    output: deque[str] = deque(maxlen=_MAX_LINES)
    with TemporaryDirectory(prefix="imp-data-") as folder:
        error_file = Path(folder) / "error.json"
        with subprocess.Popen(
            command,
            env={**os.environ, **variables, ERROR_FILE: str(error_file)},
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        ) as process:
            try:
                for line in process.stderr or ():
                    sys.stderr.write(redact(line))
                    output.append(line)
            except BaseException:
                process.send_signal(signal.SIGINT)
                process.wait(_SECONDS_TO_END)
                raise
        if process.returncode:
            raise read_error(error_file) or _failure(command, process.returncode, "".join(output))


def _failure(command: Sequence[str], status: int, output: str) -> UserError:
    """Return an error with the last lines of a command that reported no error itself."""
    return UserError(
        " ".join(command[1:5]),
        f"ended with status {status}: {output.strip() or 'it printed nothing'}",
        "run the same command again to continue from the last checkpoint",
    )
