"""Run one stage with transformers' Trainer: arguments, disk space, resumption."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import PrinterCallback, ProgressCallback, TrainingArguments

from imp_data.errors import UserError
from imp_data.manifests.model import Stage, StageName, accumulation
from imp_data.training.data.batch_sampler import (
    EpochOrder,
    Packing,
    StepBatchSampler,
    WeighStep,
    split_in_order,
)
from imp_data.training.loop.checkpoints import newest_intact
from imp_data.training.loop.devices import check_precision, is_distributed
from imp_data.training.loop.reporting import Reporter
from imp_data.training.loop.trainer import ImpTrainer
from imp_data.training.model.lora import trainable_parameters

# A weight in float32, and its two AdamW moments.
_BYTES_PER_WEIGHT = 12


class Job(NamedTuple):
    """A stage to run, and the folder of its files."""

    name: StageName
    stage: Stage
    folder: Path
    max_steps: int | None = None
    workers: int = 4

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


class StageData(NamedTuple):
    """The data of a stage: items, collator, order by epoch, weights in a step, and packing."""

    dataset: Dataset[Any]
    collate: Callable[[list[Any]], dict[str, Any]]
    order: EpochOrder
    weigh: WeighStep
    packing: Packing | None = None


# Long, since it lists all options of the Trainer with the reasons of their values.
def arguments(job: Job) -> TrainingArguments:
    """Return the Trainer's arguments; create them first, since they initialize torch.distributed.

    Raise UserError if the device does not support the stage's precision, or the number of devices
    does not divide the global batch.
    """
    stage = job.stage
    check_precision(job.name, stage.precision)
    args = TrainingArguments(
        output_dir=str(job.checkpoints),
        per_device_train_batch_size=stage.per_device_batch,
        num_train_epochs=stage.epochs,
        max_steps=job.max_steps or -1,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        # A value below 1 is a share of all steps.
        warmup_steps=stage.warmup_ratio,
        weight_decay=stage.weight_decay,
        # 0 measures the norm without clipping, in DeepSpeed too.
        max_grad_norm=stage.max_grad_norm or 0.0,
        # accelerate 1.15 does not detect steps that fp16's scaler skips in a fused kernel, and the
        # schedule would run ahead.
        optim="adamw_torch" if stage.precision == "fp16" else "adamw_torch_fused",
        bf16=stage.precision == "bf16",
        fp16=stage.precision == "fp16",
        activation_checkpointing=stage.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        seed=stage.seed,
        save_strategy="steps",
        save_steps=stage.save_steps,
        logging_steps=1,
        # A NaN loss must end the run; the filter would replace it by the mean.
        logging_nan_inf_filter=False,
        dataloader_num_workers=job.workers,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        # Only with several processes: with one, the option makes accelerate wait for others.
        ddp_backend="gloo" if is_distributed() and not torch.cuda.is_available() else None,
        ddp_find_unused_parameters=False,
    )
    if args.n_gpu > 1:
        raise UserError(
            job.name,
            f"one process sees {args.n_gpu} GPUs",
            "launch one process per GPU: "
            f"torchrun --nproc-per-node {args.n_gpu} -m imp_data train …",
        )
    if stage.sampler != "packed":
        args.gradient_accumulation_steps = accumulation(stage, args.world_size)
    return args


def train_stage(
    job: Job, args: TrainingArguments, network: nn.Module, data: StageData
) -> ImpTrainer:
    """Train to the end, from the newest intact checkpoint if there is one."""
    _check_disk_space(job, network)
    reporter = Reporter(job.name, job.folder)
    batches = make_batch_sampler(job, data, args)
    args.gradient_accumulation_steps = batches.accumulation
    trainer = ImpTrainer(
        stage=job.stage,
        batches=batches,
        model=network,
        args=args,
        train_dataset=data.dataset,
        data_collator=data.collate,
        callbacks=[reporter],
    )
    reporter.trainer = trainer
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    begun = newest_intact(job.checkpoints)
    try:
        with warnings.catch_warnings():
            # If fp16 skips the first step, the schedule steps once before the optimizer.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            trainer.train(resume_from_checkpoint=str(begun) if begun else None)
    finally:
        reporter.close()
    trainer.save_model(str(job.folder))
    if args.should_save:
        shutil.rmtree(job.checkpoints / ".saving", ignore_errors=True)
    return trainer


def make_batch_sampler(job: Job, data: StageData, args: TrainingArguments) -> StepBatchSampler:
    """Return this process's batches."""
    stage, devices = job.stage, args.world_size
    parts, deal = (
        stage.global_batch // stage.per_device_batch,
        split_in_order(stage.per_device_batch),
    )
    if data.packing:
        parts = _packed_batch_count(job, data, data.packing, devices)
        deal = data.packing.deal(parts)
    return StepBatchSampler(
        *(data.order, stage.global_batch, parts, deal, data.weigh, devices, args.process_index)
    )


def _packed_batch_count(job: Job, data: StageData, packing: Packing, devices: int) -> int:
    """Return the number of batches per step that fits every step of the run."""
    stage = job.stage
    steps = -(-len(data.order(0)) // stage.global_batch)
    epochs = -(-job.max_steps // steps) if job.max_steps else stage.epochs
    parts = packing.parts(
        *(map(data.order, range(epochs)), stage.global_batch, stage.per_device_batch, devices)
    )
    if parts > stage.global_batch:
        raise UserError(
            "global_batch",
            f"{stage.global_batch} samples are too few for {devices} devices with packing",
            "use fewer devices; the global batch belongs to the recipe",
        )
    return parts


def _check_disk_space(job: Job, network: nn.Module) -> None:
    """Raise UserError unless the disk has space for checkpoints and the stage's output."""
    weights = sum(parameter.numel() for _, parameter in trainable_parameters(network))
    needed = weights * (_BYTES_PER_WEIGHT * (job.stage.keep_checkpoints + 1) + 8)
    job.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(job.folder).free
    if free < needed:
        raise UserError(
            job.folder,
            f"{free / 1e9:.1f} GB are free, {needed / 1e9:.1f} GB are needed for "
            f"{job.stage.keep_checkpoints + 1} checkpoints of {weights / 1e6:.1f}M weights",
            "free disk space, lower keep_checkpoints, or name another --out",
        )
