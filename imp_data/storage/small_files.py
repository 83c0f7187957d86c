"""Read files that a user writes or names, up to a size limit."""

import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from imp_data.errors import UserError


def read_small(path: Path, most_bytes: int, remedy: str) -> bytes:
    """Return the bytes of a regular local file.

    Raise UserError, with this remedy, if the file does not exist, is a folder, a pipe or a device,
    has more than `most_bytes`, or is not readable.
    """
    try:
        # Opening a pipe without a writer would block.
        with open(path, "rb", opener=_open_nonblocking) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not S_ISREG(mode):
                raise UserError(path, _other_kind(mode), remedy)
            content = file.read(most_bytes + 1)
    except IsADirectoryError:
        raise UserError(path, _other_kind(os.stat(path).st_mode), remedy) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(path, f"cannot be read ({why})", remedy) from None
    if len(content) > most_bytes:
        problem = f"has more than {most_bytes:,} bytes, the limit for such a file"
        raise UserError(path, problem, remedy)
    return content


def read_small_text(path: Path, most_bytes: int, remedy: str) -> str:
    """Return a file's text as `read_small` does. Raise UserError at a byte that is not UTF-8."""
    try:
        return read_small(path, most_bytes, remedy).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not in UTF-8: byte {error.start + 1:,}", remedy) from None


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _other_kind(mode: int) -> str:
    return "is a folder, not a file" if S_ISDIR(mode) else "is a pipe or a device, not a file"
