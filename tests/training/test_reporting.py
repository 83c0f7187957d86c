"""Reports of a run: metrics, charts, TensorBoard, the progress line, Dagster."""

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import dagster_pipes
import numpy as np
from conftest import World
from training_runs import finished, losses, shapes

from imp_data.training.loop.reporting import dagster_session, read_metrics, report_to_dagster

__all__ = ["finished", "shapes"]


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
