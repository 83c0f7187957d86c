"""A run: its recipe, resumption, processes, errors, reports, and answers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import dagster_pipes
import numpy as np
import torch
from conftest import World
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from training_world import (
    COLOURS,
    LORA,
    QUESTION,
    STAGE,
    STAGES,
    lay_shapes,
    manifest,
    model,
    shape,
)
from transformers.integrations.deepspeed import (
    is_deepspeed_zero3_enabled,
    set_hf_deepspeed_config,
    unset_hf_deepspeed_config,
)

from imp_data.errors import UserError
from imp_data.manifests.model import Stage, accumulation
from imp_data.training.data.batch_sampler import StepBatchSampler, split_in_order
from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.data.token_weights import StepWeights
from imp_data.training.evaluation.generate import Speaker
from imp_data.training.loop.checkpoints import find_damage, newest_intact, publish
from imp_data.training.loop.devices import unpartitioned_weights
from imp_data.training.loop.reporting import dagster_session, read_metrics, report_to_dagster
from imp_data.training.loop.run import Run, train
from imp_data.training.loop.stage import Job, arguments
from imp_data.training.loop.trainer import ImpTrainer, parameter_groups
from imp_data.training.model.lora import attach
from imp_data.training.model.merge import merge

torch.set_num_threads(1)
SMALL = {"IMP_WORKERS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
ROOT = Path(__file__).parents[2]
ADAPTER = {"adapter": STAGES["adapter"]}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> World:
    """Build a world whose mixture `small` has 22 rows: 18 shapes and 4 conversations."""
    world = World(tmp_path_factory.mktemp("shapes"))
    lay_shapes(world, 18, 4)
    manifest(world)
    return world


def run_of(world: World, out: Path, stages: Any = STAGES, **options: Any) -> Run:
    mixtures = [open_mixture(world.data.mixture("small"))]
    return Run(model(world, stages), world.manifests, mixtures, out, workers=0, **options)


def command(world: World, out: Path, stages: Any = STAGES, *more: str) -> list[str]:
    mixture = str(world.data.mixture("small"))
    words = ["train", str(manifest(world, stages)), "--mixture", mixture, "--out", str(out), *more]
    return [sys.executable, "-m", "imp_data", *words]


def launch(command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **SMALL, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(shapes: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run both stages."""
    out = tmp_path_factory.mktemp("finished")
    train(run_of(shapes, out))
    return out


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder)]


def tokens(folder: Path) -> list[int]:
    return [line["tokens"] for line in read_metrics(folder)]


# --- the global batch -----------------------------------------------------------------------------


@pytest.mark.parametrize(("devices", "expected"), [(1, 32), (2, 16), (4, 8), (8, 4), (32, 1)])
def test_accumulation_depends_on_the_number_of_devices(devices: int, expected: int) -> None:
    stage = Stage.model_validate({**STAGE, "global_batch": 128, "per_device_batch": 4})
    assert accumulation(stage, devices) == expected


def test_a_number_of_devices_that_does_not_divide_the_batch_is_refused() -> None:
    stage = Stage.model_validate({**STAGE, "global_batch": 128, "per_device_batch": 4})
    with pytest.raises(
        UserError, match="128 is no multiple of per_device_batch 4 x 3 devices = 12"
    ):
        accumulation(stage, 3)


@given(rows=st.integers(1, 50), devices=st.sampled_from([1, 2, 4]), epoch=st.integers(0, 3))
def test_each_step_takes_the_same_rows_on_any_number_of_devices(
    rows: int, devices: int, epoch: int
) -> None:
    def order(number: int) -> list[int]:
        return np.random.default_rng(number).permutation(rows).tolist()

    def steps(devices: int) -> list[list[int]]:
        weigh = StepWeights(np.ones(50, np.int64), 8).weigh_rows
        parts = [
            StepBatchSampler(order, 8, 4, split_in_order(2), weigh, devices, n)
            for n in range(devices)
        ]
        for part in parts:
            part.set_epoch(epoch)
        dealt = [list(part) for part in parts]
        assert [len(part) for part in parts] == [len(batches) for batches in dealt]
        accumulated = 8 // (2 * devices)
        return [
            sorted(pick.row for d in dealt for b in d[n : n + accumulated] for pick in b)
            for n in range(0, len(dealt[0]), accumulated)
        ]

    alone = steps(1)
    assert steps(devices) == alone
    assert {row for step in alone for row in step} == set(range(rows))
    assert all(len(step) == 8 for step in alone)


# --- the recipe -----------------------------------------------------------------------------------


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
    network = attach(network_of(shapes), stage)
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
    from imp_data.training.model.architecture import build
    from tests.training.test_architecture import tokenizer

    return build(model(world), tokenizer())


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


def test_the_plain_template_trains_on_captions_alone(
    shapes: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = {**STAGE, "template": "plain", "sampler": "random", "save_steps": 100}
    train(run_of(shapes, tmp_path, {"projector": stage}))
    stdout = capsys.readouterr().out
    assert "the template plain takes one caption of one image" in stdout
    figures = json.loads((tmp_path / "projector/preflight.json").read_text())["together"]
    assert (figures["samples"], figures["refused"]) == (22, 4)
    # 18 images in steps of 4.
    assert len(losses(tmp_path / "projector")) == 5
    found = load_file(tmp_path / "projector/outcome/projector.safetensors")
    assert len(found) == 4
    assert not (tmp_path / "projector/outcome/whole.safetensors").exists()


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


# --- resumption -----------------------------------------------------------------------------------


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


def test_a_finished_stage_is_not_trained_again(
    finished: Path, shapes: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "adapter" / "metrics.jsonl").read_bytes()
    train(run_of(shapes, finished))
    assert "outcome is finished" in capsys.readouterr().out
    assert (finished / "adapter" / "metrics.jsonl").read_bytes() == before


def test_another_recipe_does_not_resume_a_run(finished: Path, shapes: World) -> None:
    stages = {**STAGES, "projector": {**STAGES["projector"], "learning_rate": 0.1}}
    with pytest.raises(
        UserError, match="holds a run of another recipe, mixture or number of steps"
    ):
        train(run_of(shapes, finished, stages))


# --- several processes ----------------------------------------------------------------------------


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


# --- failures -------------------------------------------------------------------------------------


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


def test_a_missing_or_altered_mixture_is_named(shapes: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: holds no mixture\.json"):
        open_mixture(tmp_path / "none")
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(shapes.data.mixture("small"), copy)
    shard = next(copy.glob("*.arrow"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-8])
    with pytest.raises(UserError, match=f"{shard.name}: has .* bytes instead of"):
        open_mixture(copy)
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard.name}: is missing"):
        open_mixture(copy)
    manifest = copy / "mixture.json"
    manifest.write_text(manifest.read_text().replace('"rows": 22', '"rows": 23', 1))
    with pytest.raises(UserError, match="its digest is not that of its content"):
        open_mixture(copy)


def test_a_stage_trains_on_the_mixture_of_its_manifest(shapes: World, tmp_path: Path) -> None:
    stages = {"projector": {**STAGES["projector"], "mixture": "captions"}}
    with pytest.raises(UserError, match=r"the manifest names the mixture captions; .* is small"):
        train(run_of(shapes, tmp_path, stages))


def test_an_adapter_stage_needs_a_finished_projector_stage(shapes: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished projector stage"):
        train(run_of(shapes, tmp_path, stage="adapter"))


def test_the_adapter_stage_starts_from_the_projector_of_another_run(
    finished: Path, shapes: World, tmp_path: Path
) -> None:
    train(run_of(shapes, tmp_path, stage="adapter", projector=finished))
    assert losses(tmp_path / "adapter") == losses(finished / "adapter")


def test_a_full_disk_fails_before_the_first_step(
    shapes: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"0\.0 GB are free, .* are needed for 3 checkpoints"):
        train(run_of(shapes, tmp_path, ADAPTER))
    assert not (tmp_path / "adapter" / "metrics.jsonl").exists()


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


# --- reports and output ---------------------------------------------------------------------------


def test_a_run_reports_its_losses_in_every_format(finished: Path) -> None:
    folder = finished / "projector"
    lines = read_metrics(folder)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert set(lines[0]) == {
        *("step", "epoch", "loss", "learning_rate", "grad_norm"),
        *("tokens", "seconds", "tokens_per_second"),
    }
    assert lines[-1]["tokens"] > 6 * 4 * 10
    assert (folder / "loss.svg").read_text().startswith("<svg")
    assert "<html" in (folder / "loss.html").read_text()[:200].lower()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 6
    assert summary["loss"] == pytest.approx(np.mean(losses(folder)))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    board = [event.value for event in events.Scalars("projector/loss")]
    assert board == pytest.approx(losses(folder), rel=1e-6)


def test_the_progress_line_has_step_loss_rate_and_time_left(shapes: World, tmp_path: Path) -> None:
    from io import StringIO

    from imp_data.training.loop.reporting import _ProgressLine

    out = StringIO()
    progress = _ProgressLine("adapter", "steps", 12, out)
    progress.also = "loss 1.234, 5,400 tokens/s"
    progress.done = 3
    line = progress.line()
    assert line.startswith("adapter: 3 of 12 steps, ")
    assert line.endswith(" left, loss 1.234, 5,400 tokens/s")


def test_a_run_that_dagster_launched_reports_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dagster sets these for a process that it launches through Pipes.
    nothing = dict.fromkeys(("partition_key", "partition_key_range", "partition_time_window"))
    mappings = {"code_version_by_asset_key": {}, "provenance_by_asset_key": {}, "extras": {}}
    run = {"asset_keys": ["model"], "run_id": "r", "job_name": "j", "retry_number": 0}
    log = tmp_path / "messages"
    context = dagster_pipes.encode_param({"data": {**nothing, **mappings, **run}})
    report_to_dagster({"loss": 1.0})
    monkeypatch.setenv("DAGSTER_PIPES_CONTEXT", context)
    monkeypatch.setenv("DAGSTER_PIPES_MESSAGES", dagster_pipes.encode_param({"path": str(log)}))
    with dagster_session():
        report_to_dagster({"loss": 1.5})
    report_to_dagster({"loss": 2.0})
    messages = [json.loads(line) for line in log.read_text().splitlines()]
    assert [message["method"] for message in messages] == [
        *("opened", "report_custom_message", "closed"),
    ]
    assert messages[1]["params"] == {"payload": {"loss": 1.5}}


def test_the_card_names_the_mixtures_root_digest(finished: Path, shapes: World) -> None:
    digest = open_mixture(shapes.data.mixture("small")).digest
    card = (finished / "adapter" / "outcome" / "README.md").read_text()
    assert f"`{digest}`" in card
    assert "r 4, alpha 4, dropout 0.05 on q_proj, k_proj" in card
    facts = json.loads((finished / "adapter" / "outcome" / "imp.json").read_text())
    assert facts["mixture"] == {"name": "small", "rows": 22, "digest": digest}


def test_a_merged_run_answers_questions(finished: Path, tmp_path: Path) -> None:
    facts = merge(finished, tmp_path / "merged")
    assert facts["stage"] == "adapter"
    answer = Speaker(tmp_path / "merged").answer(shape(COLOURS["red"], 1), QUESTION, 8)
    assert isinstance(answer, str)
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "trust_remote_code=True" in card
    with pytest.raises(UserError, match="holds no finished stage"):
        merge(tmp_path, tmp_path / "again")


def test_arguments_start_no_tracking_service(shapes: World, tmp_path: Path) -> None:
    stage = model(shapes).stages.adapter
    assert stage is not None
    args = arguments(Job("adapter", stage, tmp_path))
    assert args.report_to == []
    assert args.gradient_accumulation_steps == 2
