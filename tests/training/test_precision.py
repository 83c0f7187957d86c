"""fp16 training on a CPU with PyTorch's gradient scaler, which accelerate uses on GPUs alone."""

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World
from training_world import STAGES, build_shapes, manifest, model

from imp_data.errors import UserError
from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.loop import stage as stages
from imp_data.training.loop.reporting import read_metrics
from imp_data.training.loop.run import Run, train
from imp_data.training.loop.trainer import ImpTrainer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> World:
    world = World(tmp_path_factory.mktemp("shapes"))
    build_shapes(world, 8, 2)
    manifest(world)
    return world


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Enable fp16 on the CPU; set `scale` to choose the scaler's initial scale."""
    begins = {"scale": 2.0**16}
    plain = ImpTrainer.create_accelerator_and_postprocess

    def create(self: Any) -> None:
        plain(self)
        assert self.args.fp16 == (self.accelerator.mixed_precision == "fp16")
        if self.args.fp16:
            self.accelerator.native_amp = True
            self.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=begins["scale"])

    monkeypatch.setattr(stages, "check_precision", lambda name, precision: None)
    monkeypatch.setattr(ImpTrainer, "create_accelerator_and_postprocess", create)
    return begins


def run_of(world: World, out: Path, **fields: Any) -> Path:
    stage = {**STAGES["adapter"], "precision": "fp16", "save_steps": 100, "learning_rate": 0.01}
    mixtures = [open_mixture(world.data.mixture("small"))]
    small = model(world, {"adapter": {**stage, **fields}})
    train(Run(small, world.manifests, mixtures, out, workers=0))
    return out / "adapter"


@pytest.mark.slow
def test_fp16_training_learns_with_frozen_16_bit_weights(
    shapes: World, scaled: Any, tmp_path: Path
) -> None:
    folder = run_of(shapes, tmp_path, epochs=8)
    losses = [line["loss"] for line in read_metrics(folder)]
    assert losses[-1] < 0.9 * losses[0]
    (checkpoint,) = (folder / "checkpoints").iterdir()
    assert torch.load(checkpoint / "scaler.pt")["scale"] == 2.0**16


@pytest.mark.slow
def test_an_fp16_overflow_skips_its_step_alone(shapes: World, scaled: Any, tmp_path: Path) -> None:
    # Each overflow halves the scale: some steps are skipped before gradients fit.
    scaled["scale"] = 2.0**24
    folder = run_of(shapes, tmp_path, epochs=8)
    metrics = read_metrics(folder)
    lost = [line["step"] for line in metrics if line["grad_norm"] is None]
    assert lost[0] == 1 and len(lost) < 12
    # The schedule does not advance on a skipped step: the next step has the same rate.
    rates = [line["learning_rate"] for line in metrics]
    assert all(rates[step] == rates[step - 1] for step in lost)
    assert metrics[-1]["loss"] < 0.9 * metrics[0]["loss"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_non_finite_gradient_at_any_scale_names_the_steps_samples(
    precision: str, shapes: World, scaled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ImpTrainer.compute_loss

    def steep(self: Any, *args: Any, **options: Any) -> Any:
        loss = plain(self, *args, **options)
        # Adds zero to the loss, with an infinite gradient.
        return loss + (loss - loss.detach()).sqrt()

    monkeypatch.setattr(ImpTrainer, "compute_loss", steep)
    scaled["scale"] = 4.0
    with pytest.raises(UserError, match=r"the gradient is (nan|inf) on the batch of ") as error:
        run_of(shapes, tmp_path, epochs=8, precision=precision)
    # fp16 tries the scales 4, 2 and 1 first.
    assert error.value.where == ("step 4" if precision == "fp16" else "step 1")
    assert error.value.problem.count("shapes/") == 4
    assert "imp-data explain ID" in error.value.remedy


def test_activation_checkpointing_works_in_fp16(shapes: World, scaled: Any, tmp_path: Path) -> None:
    folder = run_of(shapes, tmp_path, gradient_checkpointing=True)
    assert len(read_metrics(folder)) == 3
    assert os.listdir(folder / "outcome")
