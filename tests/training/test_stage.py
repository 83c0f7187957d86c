"""A stage: the arguments of the Trainer, and the disk space it needs."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from conftest import World
from training_runs import ADAPTER, run_of, shapes
from training_world import model

from imp_data.errors import UserError
from imp_data.training.loop.run import train
from imp_data.training.loop.stage import StageJob, training_arguments

__all__ = ["shapes"]


def test_a_full_disk_fails_before_the_first_step(
    shapes: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"0\.0 GB are free, .* are needed for 3 checkpoints"):
        train(run_of(shapes, tmp_path, ADAPTER))
    assert not (tmp_path / "adapter" / "metrics.jsonl").exists()


def test_arguments_start_no_tracking_service(shapes: World, tmp_path: Path) -> None:
    stage = model(shapes).stages.adapter
    assert stage is not None
    args = training_arguments(StageJob("adapter", stage, tmp_path))
    assert args.report_to == []
    assert args.gradient_accumulation_steps == 2
