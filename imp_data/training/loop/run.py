"""Run the stages of a model in order: start each, resume it, or reuse its finished output."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import PreTrainedTokenizerBase

from imp_data.errors import UserError
from imp_data.manifests import model_digest
from imp_data.manifests.model import Model, Stage, StageName
from imp_data.storage.atomic_write import json_text, write_text
from imp_data.storage.digests import file_sha256, library_versions
from imp_data.storage.locks import held
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.mixture_input import (
    MixtureInput,
    hub_datasets,
    images_of,
    select_mixture,
)
from imp_data.training.loop.devices import is_distributed, is_first, unpartitioned_weights
from imp_data.training.loop.loss_curve import plot_loss
from imp_data.training.loop.reporting import dagster_session, read_metrics, report_to_dagster
from imp_data.training.loop.run_folder import lock_path
from imp_data.training.loop.stage import Job, arguments, train_stage
from imp_data.training.loop.stage_data import data_of, load_stage_tokenizer
from imp_data.training.loop.trainer import WEIGHTS
from imp_data.training.model.architecture import build
from imp_data.training.model.lora import attach
from imp_data.training.model.model_card import model_card
from imp_data.training.model.model_folder import FACTS, facts_of
from imp_data.training.model.stage_output import (
    PROJECTOR,
    copy_weights,
    load_full_weights,
    write_stage_output,
)

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_LAST_STEPS = 10


@dataclasses.dataclass(frozen=True)
class Run:
    """The options of a run: a model, mixtures, and the output folder."""

    model: Model
    manifests: Path
    """The folder of manifests; its `images/` locates the images."""
    mixtures: Sequence[MixtureInput]
    out: Path
    stage: StageName | Literal["all"] = "all"
    projector: Path | None = None
    """A finished projector stage of another run, from which the adapter stage starts."""
    images: Path | None = None
    """The folder of images, if not the data directory of the mixture."""
    max_steps: int | None = None
    workers: int = 4


def train(run: Run) -> list[Path]:
    """Run the selected stages and return the output folder of each."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    wanted = [(n, s) for n, s in run.model.planned if run.stage in ("all", n)]
    if not wanted:
        raise UserError(run.model.name, f"has no stage {run.stage}", "see `stages` in its manifest")
    # Before anything is built, so that a missing mixture fails at once.
    mixtures = {name: select_mixture(run.mixtures, stage.mixture, name) for name, stage in wanted}
    with dagster_session() if is_first() else nullcontext():
        return [_run_stage(run, name, stage, mixtures[name]) for name, stage in wanted]


def _run_stage(run: Run, name: StageName, stage: Stage, mixture: MixtureInput) -> Path:
    """Run a stage under the lock of its folder, unless it is finished."""
    if not is_first():
        return _run_locked(run, name, stage, mixture)
    outcome = run.out / name / "outcome" / FACTS
    finished = outcome.is_file()
    with held(lock_path(run.out, name), f"{name} in {run.out}", "imp-data train"):
        if is_distributed() and outcome.is_file() and not finished:
            # The other processes of this run missed it, and would wait for this one.
            raise UserError(
                outcome.parent,
                "was finished by another run while this one waited",
                "run the same command again, which resumes from there",
            )
        return _run_locked(run, name, stage, mixture)


def _run_locked(run: Run, name: StageName, stage: Stage, mixture: MixtureInput) -> Path:
    folder = run.out / name
    outcome = folder / "outcome"
    before = _previous_output(run, name)
    _check_same_run(folder, _inputs(run, name, stage, mixture, before))
    if (outcome / FACTS).is_file():
        if is_first():
            (folder / WEIGHTS).unlink(missing_ok=True)  # a kill may have left it
            print(f"{name}: {outcome} is finished")
        return outcome
    earlier = facts_of(before).get("datasets", []) if before else []
    datasets = sorted({*earlier, *hub_datasets(mixture, run.manifests)})
    job = Job(name, stage, folder, run.max_steps, run.workers)
    args = arguments(job)
    with args.main_process_first(local=False):
        tokenizer = load_stage_tokenizer(run.model, run.mixtures, before)
        images = images_of(mixture, run.manifests, run.images)
        data = data_of(run.model, stage, mixture, tokenizer, images, folder)
    weights = load_full_weights(before) if before else {}
    with unpartitioned_weights(args):
        network = build(run.model, tokenizer, run.model.seed, _TYPES[stage.precision])
        copy_weights(network, weights)
        trained = attach(network, stage)
    trainer = train_stage(job, args, trained, data)
    if args.should_save:
        _finish(run, name, mixture, datasets, tokenizer, weights, folder)
    # The next stage begins from what the first process has just written.
    trainer.accelerator.wait_for_everyone()
    return outcome


def _previous_output(run: Run, name: StageName) -> Path | None:
    """Return the projector stage's output from which the stage starts; None for the projector."""
    if name == "projector" or run.model.stages.projector is None:
        return None
    folder = run.projector or run.out / "projector" / "outcome"
    folder = folder if (folder / FACTS).is_file() else folder / "projector" / "outcome"
    if not (folder / FACTS).is_file():
        raise UserError(
            run.projector or run.out,
            "holds no finished projector stage, from which the adapter stage starts",
            "run with --stage all or --stage projector first, or name a run with --projector",
        )
    return folder


def _inputs(
    run: Run, name: StageName, stage: Stage, mixture: MixtureInput, before: Path | None
) -> dict[str, Any]:
    parts = run.model.model_copy(update={"stages": type(run.model.stages)()})
    # A tokenizer of the model's own is trained on all mixtures; a later stage reuses it.
    read = run.mixtures if run.model.tokenizer and before is None else []
    return {
        "recipe": model_digest(parts, stage),
        "mixture": mixture.digest,
        "begins_from": file_sha256(before / PROJECTOR) if before else None,
        "max_steps": run.max_steps,
        "stage": name,
        "tokenizer": [mixture.digest for mixture in read],
    }


def _check_same_run(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Raise UserError if the folder holds a run of other inputs; record the inputs of a new run."""
    path = folder / "run.json"
    if not path.exists():
        if is_first():
            write_text(path, json_text(inputs))
    elif path.read_text(encoding="utf-8") != json_text(inputs):
        raise UserError(
            folder,
            "holds a run of another recipe, mixture or number of steps",
            "name another --out, or move this folder elsewhere",
        )


def _finish(
    run: Run,
    name: StageName,
    mixture: MixtureInput,
    datasets: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    before: Mapping[str, torch.Tensor],
    folder: Path,
) -> None:
    """Write the loss curve, the summary and the stage's output, and report the final figures."""
    from safetensors.torch import load_file

    metrics = read_metrics(folder)
    last = [line["loss"] for line in metrics[-_LAST_STEPS:]]
    facts = {
        "mixture": mixture.facts,
        "datasets": datasets,
        "steps": metrics[-1]["step"],
        "tokens": metrics[-1]["tokens"],
        "loss": sum(last) / len(last),
        "versions": library_versions("torch", "transformers", "peft", "accelerate"),
    }
    weights = {**before, **load_file(folder / WEIGHTS)}
    template = TEMPLATES[run.model.template]
    outcome = folder / "outcome"
    plot_loss(folder, f"{run.model.title}: {name}")
    write_text(folder / "summary.json", json_text({"stage": name, **facts}))
    card = model_card(run.model, {**facts, "stage": name}, "adapter")
    # Last, since the output folder marks the stage as finished.
    write_stage_output(outcome, run.model, name, tokenizer, template.jinja, weights, facts, card)
    (folder / WEIGHTS).unlink()
    report_to_dagster({f"{name}_{k}": facts[k] for k in ("steps", "tokens", "loss")})
    print(f"{name}: {outcome}, {facts['steps']:,} steps, loss {facts['loss']:.4f}")
