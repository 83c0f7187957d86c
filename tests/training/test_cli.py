"""The commands train and merge: exit status and messages."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from conftest import World
from training_runs import command, launch, shapes
from training_world import STAGES

__all__ = ["shapes"]


@pytest.mark.slow
def test_the_command_ends_with_one_line_and_status_1(shapes: World, tmp_path: Path) -> None:
    done = launch(
        command(shapes, tmp_path, {"projector": {**STAGES["projector"], "precision": "fp16"}})
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "imp-data: stages.projector.precision: fp16 needs a GPU",
        "  What to do: write bf16 or fp32 into the manifest",
    ]


def test_the_command_without_torch_names_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No torch', name='torch')\n")
    done = launch(
        [sys.executable, "-m", "imp_data", "merge", str(tmp_path), "-o", str(tmp_path / "m")],
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "imp-data: the library torch: is not installed",
        "  What to do: pip install 'imp-data[train]'",
    ]
