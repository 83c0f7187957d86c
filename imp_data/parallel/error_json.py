"""Exceptions as JSON, the one form in which they pass between processes."""

import builtins
import json
import os
import traceback
from pathlib import Path
from typing import Any

from imp_data.errors import UserError

# Names the file in which a launched command leaves its error for the process that launched it.
ERROR_FILE = "IMP_ERROR_FILE"


class WorkerError(Exception):
    """An exception of another process whose type is neither UserError nor built into Python."""


def encode_error(error: Exception) -> str:
    """Return an exception, with its traceback, as JSON."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, UserError):
        return json.dumps({**error.as_dict(), "traceback": trace})
    return json.dumps({**_built_in(error), "traceback": trace})


def _built_in(error: Exception) -> dict[str, Any]:
    """Return type and arguments of the nearest built-in exception, such as MemoryError of numpy's.

    The type is null if that is Exception alone.
    """
    kind = type(error)
    arguments: list[Any] = list(error.args)
    if isinstance(error, OSError) and error.filename is not None:
        arguments = [error.errno, error.strerror, str(error.filename)]
    plain = all(one is None or isinstance(one, str | int | float) for one in arguments)
    if kind.__module__ == "builtins" and plain:
        return {"type": kind.__name__, "arguments": arguments}
    if not (isinstance(error, OSError) and plain):
        arguments = [f"{kind.__module__}.{kind.__qualname__}: {error}"]
    for base in kind.__mro__:
        if base.__module__ == "builtins" and base is not Exception:
            try:
                base(*arguments)
            except TypeError:
                continue  # such as UnicodeDecodeError, which takes more than a message
            return {"type": base.__name__, "arguments": arguments}
        if base is Exception:
            break
    return {"type": None, "arguments": arguments}


def decode_error(text: str) -> Exception:
    """Return the exception that `encode_error` encoded, with its traceback as a note.

    A UserError and a built-in exception keep their type. Any other becomes the built-in exception
    that it derives from, or a WorkerError.
    """
    record = json.loads(text)
    error: Exception
    if "problem" in record:
        error = UserError(record["where"], record["problem"], record["remedy"])
    else:
        kind = getattr(builtins, record["type"]) if record["type"] else WorkerError
        error = kind(*record["arguments"])
    error.add_note(f"In a worker process:\n{record['traceback']}")
    return error


def write_error(error: Exception) -> None:
    """Write an exception to the file that IMP_ERROR_FILE names, if it names one.

    Several processes of one command may fail at once: the file is always one error, complete.
    """
    if path := os.environ.get(ERROR_FILE):
        unfinished = Path(f"{path}.{os.getpid()}")
        unfinished.write_text(encode_error(error), encoding="utf-8")
        unfinished.replace(path)


def read_error(path: Path) -> Exception | None:
    """Return the exception that a launched command wrote; None if it wrote none."""
    return decode_error(path.read_text(encoding="utf-8")) if path.exists() else None
