"""transformers' Trainer with Imp's two learning rates, atomic checkpoints, and clear errors."""

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer

from imp_data.errors import UserError
from imp_data.manifests.model import Stage
from imp_data.training.data.batch_sampler import StepBatchSampler
from imp_data.training.loop.checkpoints import checkpoint_path, publish
from imp_data.training.model.lora import is_projector, trainable_parameters

WEIGHTS = "trained.safetensors"
_ASIDE = ".saving"
_PEFT = "base_model.model."


class ImpTrainer(Trainer):
    """A Trainer that takes its steps from `batches`; `ids` and `tokens` of a batch are for logs."""

    optimizer: torch.optim.Optimizer | None
    # The weights of a batch's tokens already scale its loss to its share of the step's.
    loss_is_scaled_for_ga = True

    def __init__(self, *, stage: Stage, batches: StepBatchSampler, **options: Any) -> None:
        self._stage, self._batches = stage, batches
        self._tokens = 0
        self._step_ids: list[str] = []
        super().__init__(**options)
        # Collected before anything wraps or shards the network.
        self._names = {name for name, _ in trainable_parameters(self.model)}

    def get_train_dataloader(self) -> DataLoader:
        workers = self.args.dataloader_num_workers
        return DataLoader(
            self.train_dataset,
            batch_sampler=self._batches,
            collate_fn=self.data_collator,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            pin_memory=torch.cuda.is_available(),
            # A separate generator, so that dropout's random numbers do not depend on the workers.
            generator=torch.Generator(),
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(parameter_groups(model or self.model, self._stage), **options)
        return self.optimizer

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        """Count nothing: the weights are computed before training."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the weighted sum of the learned tokens' losses."""
        targets, weights = inputs.pop("shift_labels"), inputs.pop("loss_weights")
        inputs.pop("labels", None)
        outputs = model(**inputs)
        losses = nn.functional.cross_entropy(outputs.logits.float(), targets, reduction="none")
        # Weights are shares of the whole step; gradients are averaged over processes.
        loss = (losses * weights).sum() * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        ids = inputs.pop("ids", [])
        self._tokens += inputs.pop("tokens")
        self._step_ids += ids
        try:
            loss = super().training_step(model, inputs, num_items_in_batch)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._failure(ids, "out of memory", _LESS_MEMORY) from error
        except RuntimeError as error:
            if "not enough memory" not in str(error) and "alloc" not in str(error):
                raise
            raise self._failure(ids, f"out of memory ({error})", _LESS_MEMORY) from error
        if not math.isfinite(loss.item()):
            raise self._failure(ids, f"the loss is {loss.item()}", _FINITE_LOSS)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        ids, self._step_ids = self._step_ids, []
        scaler = self.accelerator.scaler
        # fp16's scaler skips a step that overflows and halves the scale; DeepSpeed's does too.
        final = scaler.get_scale() < 1 if scaler else not self.is_deepspeed_enabled
        if final and not math.isfinite(norm):
            raise self._failure(ids, f"the gradient is {float(norm)}", _FINITE_LOSS)
        return norm

    def tokens_seen(self) -> int:
        """Return the tokens since the run started, of all devices; every process must call this."""
        own = torch.tensor(self._tokens, device=self.args.device)
        return int(self.accelerator.reduce(own, reduction="sum"))

    def _failure(self, ids: list[str], problem: str, remedy: str) -> UserError:
        samples = ", ".join(ids) or "(unknown)"
        where = f"step {self.state.global_step + 1}"
        return UserError(where, f"{problem} on the batch of {samples}", remedy)

    def _run_epoch(self, **given: Any) -> None:
        # transformers runs a step before it checks whether any remains; none remains in a run that
        # was killed after its last checkpoint.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(**given)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        aside = Path(self.args.output_dir) / _ASIDE
        target = checkpoint_path(Path(self.args.output_dir), self.state.global_step)
        if self.args.should_save:
            shutil.rmtree(aside, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            publish(aside / target.name, target, self._stage.keep_checkpoints)
            shutil.rmtree(aside)
        self.accelerator.wait_for_everyone()

    def _get_output_dir(self, trial: Any) -> str:
        return str(Path(self.args.output_dir) / _ASIDE)

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        weights = state_dict or dict(self.model.named_parameters())
        named = {name.removeprefix(_PEFT): weight for name, weight in weights.items()}
        save_file({n: named[n].detach().cpu().contiguous() for n in self._names}, folder / WEIGHTS)

    def _load_from_checkpoint(self, path: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled:
            # FSDP's sharded files are beside ours.
            super()._load_from_checkpoint(path, model)
        else:
            load_trained(model or self.model, Path(path) / WEIGHTS)


_LESS_MEMORY = (
    "lower per_device_batch in the manifest (the global batch stays the same), set "
    "gradient_checkpointing, or use bf16; then run the same command again to resume from the last "
    "checkpoint"
)
_FINITE_LOSS = (
    "check these samples with `imp-data explain ID`; if they are correct, use bf16 or fp32 "
    "instead of fp16, or a lower learning rate; then run the same command again"
)


def parameter_groups(network: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """Return the optimizer's groups: a separate rate of the projector, no decay of vectors."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = is_projector(name), parameter.ndim > 1
            groups.setdefault(key, []).append(parameter)
    projector_rate = stage.projector_learning_rate or stage.learning_rate
    return [
        {
            "params": parameters,
            "lr": projector_rate if projector else stage.learning_rate,
            "weight_decay": stage.weight_decay if decays else 0.0,
        }
        for (projector, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def load_trained(network: nn.Module, path: Path) -> None:
    """Load the trained weights from a file."""
    saved, wanted = load_file(path), dict(trainable_parameters(network))
    if different := sorted(saved.keys() ^ wanted.keys()):
        raise UserError(
            path,
            f"{different[0]} is not in both the file and the manifest's trained weights",
            "train into a new folder, or restore the manifest of this run",
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(saved[name])
