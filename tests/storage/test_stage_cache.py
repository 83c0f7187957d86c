"""Files of the stages: whole or absent, the same bytes for the same content, built only if due."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.storage.atomic_write import json_text, write_text, written_aside
from imp_data.storage.digests import (
    file_sha256,
    listing_digest,
    text_digest,
    tree_digest,
    xxh3_keys,
)
from imp_data.storage.stage_cache import StageResult, run_stage
from imp_data.storage.tables import arrow_batches, arrow_writer, parquet_writer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- written aside ------------------------------------------------------------------------------


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep/down/file.txt"
    with written_aside(path) as aside:
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
    with pytest.raises(error), written_aside(path) as aside:
        aside.write_text("ne")
        raise error
    assert names(tmp_path) == ["file.txt"]
    assert path.read_text() == "old"


def test_a_folder_takes_the_place_of_the_old_one_with_all_that_was_in_it(tmp_path: Path) -> None:
    path = tmp_path / "mixture"
    for content in ("old", "new"):
        with written_aside(path) as aside:
            aside.mkdir()
            (aside / f"{content}.txt").write_text(content)
    assert names(tmp_path) == ["mixture"]
    assert names(path) == ["new.txt"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "mixture").mkdir()
    (tmp_path / "mixture/old.txt").touch()
    with pytest.raises(ValueError), written_aside(tmp_path / "mixture") as aside:
        aside.mkdir()
        raise ValueError
    assert names(tmp_path) == ["mixture"]
    assert names(tmp_path / "mixture") == ["old.txt"]


def test_after_a_kill_the_old_file_stands_and_the_next_attempt_clears_up(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from imp_data.storage.atomic_write import written_aside\n"
        "with written_aside(Path(sys.argv[1])) as aside:\n"
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
def test_a_disk_that_takes_no_more_names_the_file_and_what_to_do(
    number: int, tmp_path: Path
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UserError) as error, written_aside(path) as aside:
        aside.write_text("ne")
        raise OSError(number, os.strerror(number))
    assert error.value.where == str(path)
    assert error.value.problem == f"cannot be written ({os.strerror(number)})"
    assert error.value.remedy.startswith("free space or grant access")
    assert names(tmp_path) == ["file.txt"]


def test_a_folder_that_may_not_be_made_is_told_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"new: cannot be written \(Permission denied\)"):
        write_text(tmp_path / "new/file.txt", "text")


def test_an_error_that_is_no_matter_of_room_or_access_passes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_aside(tmp_path / "file.txt"):
        (tmp_path / "other").read_bytes()


# --- stages -------------------------------------------------------------------------------------


class Stage:
    """A stage with one input and two outputs, a file and a folder, that counts its builds."""

    def __init__(self, folder: Path) -> None:
        self.file, self.folder, self.stamp = folder / "a.txt", folder / "b", folder / "stamp.json"
        self.builds = 0
        self.fails = False

    def run(self, **inputs: str) -> StageResult:
        return run_stage(self.stamp, inputs, [self.file, self.folder], self._build)

    def _build(self) -> dict[str, Any]:
        self.builds += 1
        if self.fails:
            raise UserError("input", "is bad", "mend it")
        write_text(self.file, "content")
        write_text(self.folder / "part.txt", "part")
        return {"rows": 3}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_stage_whose_inputs_are_unchanged_is_not_built_again(stage: Stage) -> None:
    first = stage.run(code="1", data="2")
    again = stage.run(data="2", code="1")
    assert first.built and not again.built
    assert (again.digest, again.figures) == (first.digest, {"rows": 3})
    assert stage.builds == 1


CHANGES: dict[str, Callable[[Stage], object]] = {
    "an output was written to": lambda s: s.file.write_text("changed"),
    "an output was touched": lambda s: os.utime(s.file, ns=(1, 1)),
    "an output was deleted": lambda s: s.file.unlink(),
    "a file of a folder was deleted": lambda s: (s.folder / "part.txt").unlink(),
    "a file came to a folder": lambda s: (s.folder / "more.txt").touch(),
    "the stamp was deleted": lambda s: s.stamp.unlink(),
    "the stamp was cut off": lambda s: s.stamp.write_bytes(s.stamp.read_bytes()[:20]),
    "the stamp is of another kind": lambda s: s.stamp.write_text('{"digest": ""}'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stage_is_built_again_when(change: str, stage: Stage) -> None:
    first = stage.run(code="1")
    CHANGES[change](stage)
    assert stage.run(code="1").built
    assert stage.file.read_text() == "content"
    assert not stage.run(code="1").built
    if change != "a file came to a folder":
        assert stage.run(code="1").digest == first.digest


@pytest.mark.parametrize("inputs", [{"code": "2"}, {"code": "1", "more": "1"}, {}, {"kode": "1"}])
def test_a_stage_is_built_again_when_an_input_changes(inputs: dict[str, str], stage: Stage) -> None:
    stage.run(code="1")
    assert stage.run(**inputs).built


def test_a_build_that_fails_is_tried_again_until_it_succeeds(stage: Stage) -> None:
    stage.run(code="1")
    stage.fails = True
    for _ in range(2):
        with pytest.raises(UserError):
            stage.run(code="2")
    stage.fails = False
    assert not stage.run(code="1").built
    assert stage.run(code="2").built
    assert stage.builds == 4


def test_the_digest_tells_contents_and_names_not_times(tmp_path: Path) -> None:
    for name in "ab":
        write_text(tmp_path / name / "x/file.txt", "content")
    a, b = tmp_path / "a", tmp_path / "b"
    assert tree_digest(a) == tree_digest(b)
    assert listing_digest(a) != listing_digest(b)
    (b / "x/file.txt").rename(b / "x/other.txt")
    assert tree_digest(a) != tree_digest(b)


# --- digests ------------------------------------------------------------------------------------


def test_a_files_digest_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "f") == tree_digest(tmp_path / "f") == known


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_no_two_lists_of_parts_have_one_digest(one: list[str], other: list[str]) -> None:
    assert (text_digest(*one) == text_digest(*other)) == (one == other)


def test_the_keys_of_a_draw_are_xxh3_of_seed_and_id() -> None:
    assert xxh3_keys(7, ["a/1", "é"]) == [
        xxhash.xxh3_64(b"a/1", seed=7).intdigest(),
        xxhash.xxh3_64("é".encode(), seed=7).intdigest(),
    ]


def test_json_for_people_has_sorted_keys_and_ends_its_line() -> None:
    assert json_text({"b": 1, "a": [True]}) == '{\n  "a": [\n    true\n  ],\n  "b": 1\n}\n'


# --- Arrow and Parquet --------------------------------------------------------------------------

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64()), ("more", pa.list_(pa.string()))])


def table(rows: int = 10) -> pa.RecordBatch:
    numbers = list(range(rows))
    values = [[str(n) for n in numbers], numbers, [["x"] * (n % 3) for n in numbers]]
    return pa.RecordBatch.from_arrays([pa.array(v) for v in values], schema=SCHEMA)


def write_arrow(path: Path, *batches: pa.RecordBatch) -> bytes:
    with arrow_writer(path, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return path.read_bytes()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write_arrow(tmp_path / "a", table()) == write_arrow(tmp_path / "b", table())
    for name in "cd":
        with parquet_writer(tmp_path / name, SCHEMA) as writer:
            writer.write_table(pa.Table.from_batches([table()]))
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()
    assert pq.read_table(tmp_path / "c") == pa.Table.from_batches([table()])


def test_batches_come_back_in_order_with_the_columns_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    write_arrow(path, table(3), table(0), table(5))
    assert [len(batch) for batch in arrow_batches(path)] == [3, 0, 5]
    assert list(arrow_batches(path))[2] == table(5)
    for columns in (["n"], ["id", "more"], ["more", "id"]):
        batch = next(arrow_batches(path, columns))
        assert batch.select(columns) == table(3).select(columns)
        assert sorted(batch.schema.names) == sorted(columns)


def test_an_arrow_file_that_is_not_whole_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    data = write_arrow(path, table())
    for cut in (0, 5, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(
            UserError, match=r"a\.arrow: is damaged: it does not end with checksums"
        ):
            list(arrow_batches(path))
    path.unlink()
    with pytest.raises(UserError, match=r"a\.arrow: cannot be read \(.*No such file"):
        list(arrow_batches(path))
