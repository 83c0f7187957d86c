"""Paths in an object store behave as paths of this machine do."""

import os
import pickle
from pathlib import Path

import pytest

from imp_data.storage.object_path import ObjectPath
from imp_data.storage.paths import parse_path

URL = "memory://bucket/folder"


def test_names_and_parts_are_those_of_a_path() -> None:
    path = parse_path(f"{URL}/a.tar.gz")
    assert isinstance(path, ObjectPath)
    assert str(path) == f"{URL}/a.tar.gz"
    assert (path.name, path.suffix, path.parent) == ("a.tar.gz", ".gz", parse_path(URL))
    assert path.relative_to(parse_path(URL)).as_posix() == "a.tar.gz"
    assert list(map(str, path.parents)) == [URL, "memory://bucket"]
    assert path.absolute() == path.resolve() == path


def test_a_relative_path_may_begin_with_what_looks_like_a_drive() -> None:
    assert (parse_path(URL) / "c:" / "x").relative_to(parse_path(URL)).as_posix() == "c:/x"


def test_no_object_path_equals_a_local_path() -> None:
    assert parse_path(URL) != Path("memory:/bucket/folder")
    assert parse_path(URL) == parse_path(f"{URL}/")


def test_an_object_path_reaches_another_process() -> None:
    path = parse_path(f"{URL}/a")
    assert pickle.loads(pickle.dumps(path)) == path


def test_files_are_written_read_listed_and_deleted(tmp_path: Path) -> None:
    folder = parse_path(f"memory://{tmp_path}")
    file = folder / "é.txt"
    assert not folder.exists()
    file.write_text("one\ntwo", encoding="utf-8")
    assert folder.is_dir()
    assert file.is_file()
    assert file.stat().st_size == 7
    assert (file.read_text(encoding="utf-8"), file.read_bytes()) == ("one\ntwo", b"one\ntwo")
    assert list(folder.iterdir()) == [file]
    file.unlink()
    file.unlink(missing_ok=True)
    assert not file.exists()


def test_the_operating_system_gets_no_object_path() -> None:
    with pytest.raises(TypeError, match="is in an object store"):
        os.listdir(parse_path(URL))
    with pytest.raises(TypeError, match="is in an object store"):
        parse_path(URL).rmdir()
