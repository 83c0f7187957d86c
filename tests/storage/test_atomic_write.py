"""Files and folders are written completely or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imp_data.errors import UserError
from imp_data.storage.atomic_write import json_text, write_atomically, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep/down/file.txt"
    with write_atomically(path) as aside:
        aside.write_text("half")
        assert not path.exists()
        assert aside.parent == path.parent
    assert path.read_text() == "half"
    assert names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_no_part_of_the_new(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), write_atomically(path) as aside:
        aside.write_text("ne")
        raise error
    assert names(tmp_path) == ["file.txt"]
    assert path.read_text() == "old"


def test_a_folder_replaces_the_old_one_and_its_content(tmp_path: Path) -> None:
    path = tmp_path / "mixture"
    for content in ("old", "new"):
        with write_atomically(path) as aside:
            aside.mkdir()
            (aside / f"{content}.txt").write_text(content)
    assert names(tmp_path) == ["mixture"]
    assert names(path) == ["new.txt"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "mixture").mkdir()
    (tmp_path / "mixture/old.txt").touch()
    with pytest.raises(ValueError), write_atomically(tmp_path / "mixture") as aside:
        aside.mkdir()
        raise ValueError
    assert names(tmp_path) == ["mixture"]
    assert names(tmp_path / "mixture") == ["old.txt"]


def test_after_a_kill_the_old_file_remains_and_the_next_attempt_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from imp_data.storage.atomic_write import write_atomically\n"
        "with write_atomically(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('ne'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    write_text(path, "new")
    assert names(tmp_path) == ["file.txt"]
    assert path.read_text() == "new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_full_disk_is_an_error_with_file_and_remedy(number: int, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UserError) as error, write_atomically(path) as aside:
        aside.write_text("ne")
        raise OSError(number, os.strerror(number))
    assert error.value.where == str(path)
    assert error.value.problem == f"cannot be written ({os.strerror(number)})"
    assert error.value.remedy.startswith("free space or grant access")
    assert names(tmp_path) == ["file.txt"]


def test_a_folder_that_cannot_be_created_is_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"new: cannot be written \(Permission denied\)"):
        write_text(tmp_path / "new/file.txt", "text")


def test_an_error_unrelated_to_space_or_access_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "file.txt"):
        (tmp_path / "other").read_bytes()


def test_json_text_has_sorted_keys_and_a_final_newline() -> None:
    assert json_text({"b": 1, "a": [True]}) == '{\n  "a": [\n    true\n  ],\n  "b": 1\n}\n'
