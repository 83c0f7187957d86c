"""Report the progress of a run: a progress line, metrics.jsonl, TensorBoard, and Dagster Pipes.

metrics.jsonl has one JSON object per step: step, loss, learning_rate, grad_norm, tokens, and the
time and rate of this run. Launched through Dagster Pipes, the run also reports the newest figures.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import orjson
from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback

from imp_data.parallel.progress import Progress
from imp_data.storage.atomic_write import write_text

METRICS = "metrics.jsonl"
_PIPES_INTERVAL_SECONDS = 30.0


class Reporter(TrainerCallback):
    """A callback that reports each step; set `trainer` after the Trainer's construction."""

    def __init__(self, label: str, folder: Path, out: TextIO | None = None) -> None:
        self.trainer: Any = None
        self._label, self._folder, self._out = label, folder, out
        self._loss = float("nan")

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Open the logs, and drop steps that a killed run logged after its last checkpoint."""
        if not state.is_world_process_zero:
            return
        keep = [line for line in read_metrics(self._folder) if line["step"] <= state.global_step]
        write_text(self._folder / METRICS, "".join(_json_line(line) for line in keep))
        self._tokens_before = keep[-1]["tokens"] if keep else 0
        self._file = (self._folder / METRICS).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=state.global_step)
        self._start, self._last_report = time.monotonic(), 0.0
        total = state.max_steps - state.global_step
        self._progress = _ProgressLine(self._label, "steps", total, self._out)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """Report one step; logging_steps is 1, so this runs after every step."""
        if "loss" not in (logs or {}):
            return
        tokens = self.trainer.tokens_seen()
        if not state.is_world_process_zero:
            return
        seconds = time.monotonic() - self._start
        figures = {
            "step": state.global_step,
            "epoch": state.epoch,
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm"),
            "tokens": self._tokens_before + tokens,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
        }
        self._file.write(_json_line(figures))
        self._file.flush()
        for name in ("loss", "learning_rate", "grad_norm", "tokens_per_second"):
            if figures[name] is not None:
                self._board.add_scalar(f"{self._label}/{name}", figures[name], state.global_step)
        self._progress.also = (
            f"loss {figures['loss']:.3f}, {figures['tokens_per_second']:,.0f} tokens/s"
        )
        self._progress.add(1)
        if seconds - self._last_report >= _PIPES_INTERVAL_SECONDS:
            self._last_report = seconds
            report_to_dagster(
                {f"{self._label}_{k}": v for k, v in figures.items() if v is not None}
            )

    def close(self) -> None:
        """Close the logs, after the last step or a failure."""
        if hasattr(self, "_file"):
            self._progress.close()
            self._file.close()
            self._board.close()


class _ProgressLine(Progress):
    """`adapter: 120 of 15,702 steps, 0/s, 3 h 2 min left, loss 1.234, 5,400 tokens/s`"""

    also = ""

    def line(self) -> str:
        return f"{super().line()}, {self.also}"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's metrics.jsonl, without a last line that a kill truncated."""
    try:
        lines = (folder / METRICS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [orjson.loads(line) for line in lines[:-1]]


@contextmanager
def dagster_session() -> Iterator[None]:
    """Let `report_to_dagster` reach Dagster in this block, if Pipes launched this process."""
    if not os.environ.get("DAGSTER_PIPES_CONTEXT"):
        yield
        return
    import dagster_pipes

    with dagster_pipes.open_dagster_pipes():
        yield


def report_to_dagster(figures: Mapping[str, Any]) -> None:
    """Send figures to Dagster; do nothing outside a `dagster_session`."""
    pipes = sys.modules.get("dagster_pipes")
    if pipes is None or not pipes.PipesContext.is_initialized():
        return
    context = pipes.PipesContext.get()
    if not context.is_closed:
        context.report_custom_message(dict(figures))


def _json_line(figures: Mapping[str, Any]) -> str:
    return orjson.dumps(figures).decode() + "\n"
