"""The trainer: learning rates, precisions, samplers, and errors of a step."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import numpy as np
import torch
from conftest import World
from safetensors.torch import load_file
from training_runs import ADAPTER, losses, run_of, shapes
from training_world import STAGES, model

from imp_data.errors import UserError
from imp_data.manifests.model import Stage
from imp_data.training.loop.reporting import read_metrics
from imp_data.training.loop.run import train
from imp_data.training.loop.trainer import ImpTrainer, parameter_groups
from imp_data.training.model.lora import make_trainable

__all__ = ["shapes"]


def cosine(step: int, total: int, rate: float, warmup: float) -> float:
    """Return the rate of a step, counted from 0: linear warm-up, then half a cosine down to 0."""
    rising = int(np.ceil(total * warmup))
    if step < rising:
        return rate * step / rising
    return rate * 0.5 * (1 + np.cos(np.pi * (step - rising) / (total - rising)))


@pytest.mark.slow
def test_the_rate_warms_up_linearly_and_decays_by_a_cosine(shapes: World, tmp_path: Path) -> None:
    stages = {"adapter": {**STAGES["adapter"], "epochs": 7, "save_steps": 100, "warmup_ratio": 0.1}}
    train(run_of(shapes, tmp_path, stages))
    found = [line["learning_rate"] for line in read_metrics(tmp_path / "adapter")]
    # 22 rows in steps of 4 are 6 steps per epoch.
    assert found == pytest.approx([cosine(n, 42, 0.002, 0.1) for n in range(42)], abs=1e-12)


def test_the_projector_has_its_own_rate_and_no_weight_decay(shapes: World) -> None:
    fields = {"learning_rate": 2e-4, "projector_learning_rate": 2e-5}
    stage = Stage.model_validate({**STAGES["adapter"], **fields})
    network = make_trainable(network_of(shapes), stage)
    groups = parameter_groups(network, stage)
    rates = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    found = {
        ("multi_modal_projector" in name, *rates[id(parameter)])
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    assert found == {(True, 2e-5, 0.0), (False, 2e-4, 0.0)}
    assert len(rates) == sum(p.requires_grad for p in network.parameters())


def network_of(world: World) -> Any:
    from imp_data.training.model.architecture import build_network
    from tests.training.test_architecture import tokenizer

    return build_network(model(world), tokenizer())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["projector", "adapter"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_learns_in_each_precision_with_and_without_checkpointing(
    name: str, precision: str, checkpointing: bool, shapes: World, tmp_path: Path
) -> None:
    stage = {**STAGES[name], "precision": precision, "gradient_checkpointing": checkpointing}
    stage |= {"epochs": 3, "save_steps": 100, "learning_rate": 0.01}
    train(run_of(shapes, tmp_path, {name: stage}))
    found = losses(tmp_path / name)
    assert found[-1] < 0.9 * found[0]


@pytest.mark.slow
def test_activation_checkpointing_changes_no_loss(shapes: World, tmp_path: Path) -> None:
    found = []
    for checkpointing in (False, True):
        stage = {**STAGES["adapter"], "gradient_checkpointing": checkpointing}
        train(run_of(shapes, tmp_path / str(checkpointing), {"adapter": stage}))
        found.append(losses(tmp_path / str(checkpointing) / "adapter"))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "modality_length", "packed"])
def test_each_sampler_trains(sampler: str, shapes: World, tmp_path: Path) -> None:
    stage = {**STAGES["projector"], "sampler": sampler, "epochs": 2, "save_steps": 100}
    train(run_of(shapes, tmp_path, {"projector": stage}))
    found = losses(tmp_path / "projector")
    assert found[-1] < found[0]


def test_a_packed_step_has_the_gradient_of_the_unpacked_samples(
    shapes: World, tmp_path: Path
) -> None:
    found = []
    for sampler in ("random", "packed"):
        stage = {**STAGES["projector"], "sampler": sampler, "epochs": 2, "save_steps": 100}
        train(run_of(shapes, tmp_path / sampler, {"projector": stage}))
        found.append(read_metrics(tmp_path / sampler / "projector"))
    plain, packed = found
    assert len(plain) == len(packed) == 12
    for one, other in zip(plain, packed, strict=True):
        assert one["tokens"] == other["tokens"]
        # Compare the gradient's norm: AdamW would hide a gradient of another scale.
        for name in ("loss", "grad_norm", "learning_rate"):
            assert other[name] == pytest.approx(one[name], rel=1e-4)
    weights = [
        load_file(tmp_path / sampler / "projector/outcome/whole.safetensors")
        for sampler in ("random", "packed")
    ]
    assert all((weights[0][name] - weights[1][name]).abs().max() < 1e-4 for name in weights[0])


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that makes the second step's forward pass fail."""

    def arrange(fail: Any) -> None:
        passed = [0]
        plain = ImpTrainer.compute_loss

        def compute_loss(self: Any, *args: Any, **options: Any) -> Any:
            passed[0] += 1
            return (
                fail(plain(self, *args, **options))
                if passed[0] > 2
                else plain(self, *args, **options)
            )

        monkeypatch.setattr(ImpTrainer, "compute_loss", compute_loss)

    yield arrange


def test_a_non_finite_loss_names_the_batch(failing: Any, shapes: World, tmp_path: Path) -> None:
    failing(lambda loss: loss * float("nan"))
    with pytest.raises(UserError, match="the loss is nan on the batch of ") as error:
        train(run_of(shapes, tmp_path, ADAPTER))
    assert error.value.where == "step 2"
    assert error.value.problem.count("shapes/") == 2
    assert "imp-data explain ID" in error.value.remedy


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_batch_and_a_remedy(
    raised: Exception, failing: Any, shapes: World, tmp_path: Path
) -> None:
    def fail(loss: torch.Tensor) -> torch.Tensor:
        raise raised

    failing(fail)
    with pytest.raises(UserError, match="out of memory") as error:
        train(run_of(shapes, tmp_path, ADAPTER))
    assert error.value.problem.count("shapes/") == 2
    assert "per_device_batch" in error.value.remedy


def test_other_errors_are_not_reported_as_out_of_memory(
    failing: Any, shapes: World, tmp_path: Path
) -> None:
    def fail(loss: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    failing(fail)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(run_of(shapes, tmp_path, ADAPTER))
