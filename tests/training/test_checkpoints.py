"""Checkpoints: atomic, pruned, skipped if damaged, and resumed bit for bit."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World
from training_runs import SMALL, command, finished, launch, run_of, shapes
from training_world import STAGES

from imp_data.training.loop.checkpoints import find_damage, newest_intact, publish
from imp_data.training.loop.reporting import read_metrics
from imp_data.training.loop.run import train

__all__ = ["finished", "shapes"]


def killed_at(command: Sequence[str], metrics: Path, step: int) -> None:
    """Start a run and SIGKILL it once it has logged that step."""
    process = subprocess.Popen(
        command, env={**os.environ, **SMALL}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < until:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= step:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL


LONG = {"adapter": {**STAGES["adapter"], "sampler": "packed", "epochs": 6, "save_steps": 4}}


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(shapes: World, tmp_path: Path) -> None:
    train(run_of(shapes, tmp_path / "whole", LONG))
    # In the second epoch, between two checkpoints.
    killed_at(command(shapes, tmp_path / "cut", LONG), tmp_path / "cut/adapter/metrics.jsonl", 10)
    assert not (tmp_path / "cut/adapter/outcome").exists()
    resumed = launch(command(shapes, tmp_path / "cut", LONG, "--workers", "1"))
    assert resumed.returncode == 0, resumed.stderr
    whole, cut = tmp_path / "whole/adapter", tmp_path / "cut/adapter"
    fields = ("step", "loss", "learning_rate", "grad_norm", "tokens")
    metrics = [
        [[line[f] for f in fields] for line in read_metrics(folder)] for folder in (whole, cut)
    ]
    assert metrics[0] == metrics[1]
    assert len(metrics[0]) == 36
    for name in ("adapter_model.safetensors", "projector.safetensors"):
        assert (whole / "outcome" / name).read_bytes() == (cut / "outcome" / name).read_bytes()
    states = [
        torch.load(folder / "checkpoints/checkpoint-36/optimizer.pt")["state"]
        for folder in (whole, cut)
    ]
    assert states[0].keys() == states[1].keys()
    for key, moments in states[0].items():
        assert all(torch.equal(moments[name], states[1][key][name]) for name in moments)


def test_checkpoints_are_intact_and_only_the_newest_are_kept(finished: Path) -> None:
    found = {path.name for path in (finished / "projector" / "checkpoints").iterdir()}
    assert found == {"checkpoint-4", "checkpoint-6"}
    assert all(
        find_damage(path) is None for path in (finished / "projector" / "checkpoints").iterdir()
    )


def write_checkpoint(folder: Path, step: int) -> Path:
    aside, target = folder / ".aside", folder / f"checkpoint-{step}"
    aside.mkdir(parents=True)
    (aside / "trained.safetensors").write_bytes(b"weights" * step)
    (aside / "trainer_state.json").write_text("{}")
    publish(aside, target, keep=2)
    return target


def test_a_damaged_checkpoint_is_skipped_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_checkpoint(tmp_path, step) for step in (9, 10, 11)]
    assert not paths[0].exists()
    assert newest_intact(tmp_path) == paths[2]
    (paths[2] / "trained.safetensors").write_bytes(b"weights" * 10 + b"weighty")
    assert newest_intact(tmp_path) == paths[1]
    stderr = capsys.readouterr().err
    assert f"{paths[2]} is skipped: trained.safetensors differs from what was written" in stderr
    (paths[1] / "trainer_state.json").unlink()
    assert newest_intact(tmp_path) is None
    assert "trainer_state.json is missing" in capsys.readouterr().err
