"""Exceptions between processes."""

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from imp_data.errors import UserError
from imp_data.parallel.error_json import (
    ERROR_FILE,
    WorkerError,
    decode_error,
    encode_error,
    read_error,
    write_error,
)


class OwnError(Exception):
    """Known to one process alone."""


def passed_on(error: Exception) -> Exception:
    return decode_error(encode_error(error))


def test_a_user_error_keeps_its_three_texts() -> None:
    error = passed_on(UserError("a.json, record 3", "is damaged: b\n c", "repair it"))
    assert isinstance(error, UserError)
    assert (error.where, error.problem, error.remedy) == (
        "a.json, record 3",
        "is damaged: b\n c",
        "repair it",
    )


def test_a_built_in_exception_keeps_its_type_and_arguments() -> None:
    error = passed_on(FileNotFoundError(errno.ENOENT, "No such file", Path("/a/b")))
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.filename) == (errno.ENOENT, "/a/b")
    assert repr(passed_on(ZeroDivisionError("division by zero", 3))) == repr(
        ZeroDivisionError("division by zero", 3)
    )


@pytest.mark.parametrize("kind", [pa.ArrowMemoryError, np.exceptions.AxisError])
def test_a_library_exception_becomes_the_built_in_one_that_it_derives_from(
    kind: type[Exception],
) -> None:
    base = next(k for k in kind.__mro__ if k.__module__ == "builtins")
    error = passed_on(kind("out of range"))
    assert type(error) is base
    assert "out of range" in str(error)


def test_an_exception_that_cannot_be_rebuilt_keeps_its_name_and_message() -> None:
    error = passed_on(OwnError({"a": 1}))
    assert type(error) is WorkerError
    assert str(error).endswith(".OwnError: {'a': 1}")
    with pytest.raises(UnicodeDecodeError) as found:
        b"\xff".decode()
    assert type(passed_on(found.value)) is UnicodeError


def test_the_traceback_is_a_note() -> None:
    try:
        raise ValueError("in a function")
    except ValueError as error:
        (note,) = passed_on(error).__notes__
    assert note.startswith("In a worker process:\nTraceback")
    assert "test_the_traceback_is_a_note" in note


def test_a_launched_command_leaves_its_error_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "error.json"
    write_error(UserError("a", "b", "c"))
    assert read_error(path) is None
    monkeypatch.setenv(ERROR_FILE, str(path))
    write_error(UserError("a", "b", "c"))
    assert str(read_error(path)) == str(UserError("a", "b", "c"))
    assert [file.name for file in tmp_path.iterdir()] == ["error.json"]
