"""Print one readable line for each event on the terminal, for runs without the UI."""

import logging
import os
import sys
import time
from functools import lru_cache
from typing import Any, TextIO

import dagster as dg

from assets.jobs import MIXTURE

_RED, _YELLOW, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


@dg.logger(
    config_schema={},
    description="One line for each asset, failures in red, a last line for the run.",
)
def brief(context: dg.InitLoggerContext) -> logging.Logger:
    """Return the logger of a run; an asset's line shows its metadata `work` and `summary`."""
    logger = logging.Logger("brief")
    job = context.job_def
    planned = job.asset_layer.selected_asset_keys if job else ()
    mixture = job.tags.get(MIXTURE, "") if job else ""
    logger.addHandler(_handler(context.run_id or "", len(planned), mixture))
    return logger


@lru_cache(maxsize=1)
def _handler(run_id: str, planned: int, mixture: str) -> "Brief":
    """Return one handler for a run: Dagster makes the logger twice, for steps and run."""
    # Within a step Dagster redirects descriptor 2 to a file; this copy still is the terminal.
    encoding = sys.__stderr__.encoding if sys.__stderr__ else "utf-8"
    # Characters that the terminal cannot show are escaped, and never an error.
    out = os.fdopen(os.dup(2), "w", buffering=1, encoding=encoding, errors="backslashreplace")
    return Brief(out, planned, mixture)


class Brief(logging.Handler):
    """Prints the result of each asset, and of the run."""

    def __init__(self, out: TextIO, planned: int, mixture: str = "") -> None:
        super().__init__()
        self._out, self._planned, self._mixture = out, planned, mixture
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self._results: dict[str, tuple[str, str]] = {}
        self._built = self._unchanged = self._failed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Print the events of `_EVENTS`; all others are in the UI."""
        event: dg.DagsterEvent | None = getattr(record, "dagster_event", None)
        show = _EVENTS.get(event.event_type) if event else None
        if event and show and not self._out.closed:
            show(self, event)

    def _started(self, event: dg.DagsterEvent) -> None:
        of = f" {self._mixture}" if self._mixture else ""
        self._line("", f"{event.job_name}{of}: {self._planned} assets")

    def _materialized(self, event: dg.DagsterEvent) -> None:
        """Keep the result until the step ends: then its duration and its checks are known."""
        metadata = event.step_materialization_data.materialization.metadata
        values = [metadata[name].value if name in metadata else "" for name in ("work", "summary")]
        self._results[event.step_key or ""] = (str(values[0]), str(values[1]))

    def _checked(self, event: dg.DagsterEvent) -> None:
        check = event.asset_check_evaluation_data
        if not check.passed:
            colour = _RED if check.severity is dg.AssetCheckSeverity.ERROR else _YELLOW
            key = self._short(check.asset_key.to_user_string())
            self._line(key, f"check {check.check_name}: {check.description or 'failed'}", colour)

    def _succeeded(self, event: dg.DagsterEvent) -> None:
        work, summary = self._results.get(event.step_key or "", ("", ""))
        if work == "unchanged":
            self._unchanged += 1
            self._line(self._asset(event), "unchanged", _DIM)
            return
        self._built += 1
        seconds = event.step_success_data.duration_ms / 1000
        digits = 1 if seconds >= 1 else 2
        self._line(self._asset(event), f"built in {seconds:,.{digits}f} s: {summary}")

    def _failed_step(self, event: dg.DagsterEvent) -> None:
        self._failed += 1
        data = event.step_failure_data
        failure, error = data.user_failure_data, data.error
        if failure and failure.description:
            self._line(self._asset(event), failure.description, _RED)
        elif error and error.cls_name == "DagsterExecutionInterruptedError":
            self._line(
                self._asset(event), "interrupted; the same command continues from here", _RED
            )
        elif error and error.cls_name == "DagsterAssetCheckFailedError":
            self._line(self._asset(event), "stops here: nothing below it is built", _RED)
        else:
            cause = (error.cause or error) if error else None
            self._line(self._asset(event), cause.to_string() if cause else "failed", _RED)

    def _ended(self, event: dg.DagsterEvent) -> None:
        failed = event.event_type is not dg.DagsterEventType.RUN_SUCCESS
        if failed and not self._failed:
            self._line("", event.message or "the run failed", _RED)
        done = (self._built, self._unchanged, self._failed)
        unreached = self._planned - sum(done)
        parts = [f"{self._built} built", f"{self._unchanged} unchanged"]
        parts += [f"{self._failed} failed"] if self._failed else []
        parts += [f"{unreached} not reached"] if unreached else []
        line = f"{self._planned} assets: {', '.join(parts)}"
        idle = done == (0, self._planned, 0)
        self._line("", line + ("; nothing had changed" if idle else ""), _RED if failed else _GREEN)
        self._out.close()

    def _asset(self, event: dg.DagsterEvent) -> str:
        return self._short((event.step_key or "").replace("__", "/"))

    def _short(self, key: str) -> str:
        """Return a key without the mixture of the run, which the first line names."""
        return key.removeprefix(f"{self._mixture}/")

    def _line(self, key: str, text: str, colour: str = "") -> None:
        stamp, text = time.strftime("%H:%M:%S"), text.rstrip().replace("\n", "\n" + " " * 10)
        line = f"{stamp}  {key:<27} {text}" if key else f"{stamp}  {text}"
        self._out.write(f"{colour}{line}{_PLAIN}\n" if self._coloured and colour else f"{line}\n")


_EVENTS: dict[dg.DagsterEventType, Any] = {
    dg.DagsterEventType.RUN_START: Brief._started,
    dg.DagsterEventType.ASSET_MATERIALIZATION: Brief._materialized,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION: Brief._checked,
    dg.DagsterEventType.STEP_SUCCESS: Brief._succeeded,
    dg.DagsterEventType.STEP_FAILURE: Brief._failed_step,
    dg.DagsterEventType.RUN_SUCCESS: Brief._ended,
    dg.DagsterEventType.RUN_FAILURE: Brief._ended,
    dg.DagsterEventType.RUN_CANCELED: Brief._ended,
}
