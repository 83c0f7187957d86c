"""Stages run only if inputs, code or files changed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imp_data.errors import UserError
from imp_data.storage.atomic_write import write_text
from imp_data.storage.stage_cache import StageResult, run_stage


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


def test_a_failed_build_runs_again_until_it_succeeds(stage: Stage) -> None:
    stage.run(code="1")
    stage.fails = True
    for _ in range(2):
        with pytest.raises(UserError):
            stage.run(code="2")
    stage.fails = False
    assert not stage.run(code="1").built
    assert stage.run(code="2").built
    assert stage.builds == 4
