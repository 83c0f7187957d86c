"""Files and folders written aside and renamed when whole."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from imp_data.errors import UserError
from imp_data.objects import put, put_folder, removed
from imp_data.places import in_store, scratch

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def written_aside(path: Path, last: str = "") -> Iterator[Path]:
    """A path on this machine to write a file or a folder to; it takes `path`'s place when whole.

    After an error or a kill `path` is as it was; leftovers go at the next attempt. Of a folder in
    an object store, which takes one file after another, `last` names the file that comes last.
    """
    aside = scratch(path) if in_store(path) else path.with_name(f".{path.name}.partial")
    with writing_to(path):
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            remove(aside)
            yield aside
            move(aside, path, last)
        finally:
            remove(aside)


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """A full disk, or one that may not be written to, is a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise UserError(
            error.filename or path,
            f"cannot be written ({os.strerror(error.errno)})",
            "make room or grant access, then run the same command again; finished stages are kept",
        ) from error


def move(aside: Path, path: Path, last: str = "") -> None:
    """Give a finished file or folder of this machine its place; see `written_aside`."""
    if in_store(path):
        put_folder(aside, path, last) if aside.is_dir() else put(aside, path)
        remove(aside)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if aside.is_dir() and path.exists():
        remove(path)
    os.replace(aside, path)


def remove(path: Path) -> None:
    """Remove a file, a folder of this machine, or an object, if it is there."""
    if in_store(path):
        removed(path)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def json_text(value: Any) -> str:
    """JSON for people and programs alike: indented, keys sorted."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a small text file whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
