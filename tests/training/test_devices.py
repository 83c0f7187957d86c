"""Several processes: DDP, FSDP and ZeRO 3 have the losses of one process."""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from conftest import World
from safetensors.torch import load_file
from training_runs import command, launch, losses, run_of, shapes, tokens
from training_world import LORA, STAGES
from transformers.integrations.deepspeed import (
    is_deepspeed_zero3_enabled,
    set_hf_deepspeed_config,
    unset_hf_deepspeed_config,
)

from imp_data.training.loop.checkpoints import newest_intact
from imp_data.training.loop.devices import unpartitioned_weights
from imp_data.training.loop.run import train

__all__ = ["shapes"]


ROOT = Path(__file__).parents[2]
# Without dropout, which is random in each process.
FEW_SAVES = {
    "projector": {**STAGES["projector"], "save_steps": 3},
    "adapter": {
        **STAGES["adapter"],
        "sampler": "packed",
        "loss_weighting": "micro_batch",
        "micro_batch_size": 2,
        "save_steps": 3,
        "lora": {**LORA, "dropout": 0.0},
    },
}


@pytest.fixture(scope="module")
def alone(shapes: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run both stages in one process."""
    out = tmp_path_factory.mktemp("alone")
    train(run_of(shapes, out, FEW_SAVES))
    return out


def sharded(folder: Path, settings: str = "fsdp.yaml") -> list[str]:
    """Return the command for two processes without a GPU, with the repository's FSDP settings."""
    text = (ROOT / "deploy/accelerate" / settings).read_text()
    path = folder / settings
    path.write_text(text.replace("num_processes: 8", "num_processes: 2\nuse_cpu: true"))
    return ["-m", "accelerate.commands.launch", "--config_file", str(path)]


def partitioned(folder: Path) -> list[str]:
    """Return the same command for ZeRO 3."""
    return sharded(folder, "zero3.yaml")


def replicated(folder: Path) -> list[str]:
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


NEEDS_DEEPSPEED = pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs deepspeed")


@pytest.mark.parametrize(
    "launcher",
    [replicated, sharded, pytest.param(partitioned, marks=NEEDS_DEEPSPEED)],
    ids=["ddp", "fsdp", "zero3"],
)
@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(
    launcher: Any, alone: Path, shapes: World, tmp_path: Path
) -> None:
    python, *words = command(shapes, tmp_path, FEW_SAVES, "--workers", "0")
    done = launch([python, *launcher(tmp_path), *words])
    assert done.returncode == 0, done.stderr
    for stage in ("projector", "adapter"):
        assert losses(tmp_path / stage) == pytest.approx(losses(alone / stage), rel=1e-4)
        assert tokens(tmp_path / stage) == tokens(alone / stage)
        assert newest_intact(tmp_path / stage / "checkpoints") is not None
        paths = [out / stage / "outcome/projector.safetensors" for out in (alone, tmp_path)]
        one, two = (load_file(path) for path in paths)
        assert all((one[name] - two[name]).abs().max() < 1e-4 for name in one)


def test_a_network_is_built_unpartitioned_for_zero_3() -> None:
    class Zero3:
        def is_zero3(self) -> bool:
            return True

    settings = Zero3()
    set_hf_deepspeed_config(settings)
    try:
        with unpartitioned_weights(SimpleNamespace(hf_deepspeed_config=settings)):  # type: ignore[arg-type]
            assert not is_deepspeed_zero3_enabled()
        assert is_deepspeed_zero3_enabled()
    finally:
        unset_hf_deepspeed_config()
