"""Measure an export's latency on this machine by the protocol of the Imp paper's Table 4.

`imp-data latency DIR`
"""

import json
import os
import re
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from imp_data.errors import UserError
from imp_data.mobile.gguf.export_manifest import ExportManifest, read_export_manifest
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.latency_report import LatencyReport, LatencyRow, Spread
from imp_data.mobile.measure.latency_worker import USER_ERROR_STATUS, LatencyResult, LatencyTask
from imp_data.mobile.runtime.llama_server import llama_server_version
from imp_data.parallel.progress import progress

# Answer tokens of the short runs that choose between attention with and without flash.
_PROBE_TOKENS = 16
# Lines of llama.cpp's log to print after an error.
_LOG_LINES = 20
# Time stamp of each line of llama.cpp's log: minutes, seconds, milliseconds, microseconds.
_STAMP = r"(\d+)\.(\d\d)\.(\d{3})\.(\d{3})"
_ENCODING_START = re.compile(rf"^{_STAMP} . .*encoding mtmd batch", re.M)
_ENCODING_END = re.compile(rf"^{_STAMP} . .*decoding image batch 1/", re.M)


def measure_latency(
    folder: Path, precisions: list[Precision], threads: int, runs: int, server: Path | None = None
) -> LatencyReport:
    """Measure these precisions at every resolution of an export, in the wheel or in `server`."""
    manifest = read_export_manifest(folder)
    load_before = os.getloadavg()[0]
    configurations = [(p, size) for p in precisions for size in manifest.resolutions]
    rows = []
    with progress("latency", "configurations", len(configurations)) as bar:
        for precision, resolution in configurations:
            task = LatencyTask(
                folder=folder,
                precision=precision,
                resolution=resolution,
                flash_attention=False,
                threads=threads,
                runs=runs,
                server=server,
            )
            rows.append(_measure_row(manifest, task))
            bar.add(1)
    return LatencyReport(
        model=manifest.name,
        runtime=llama_server_version(server) if server else f"xllamacpp {version('xllamacpp')}",
        threads=threads,
        runs=runs,
        load_before=load_before,
        rows=rows,
    )


def _probe(task: LatencyTask) -> dict[str, float]:
    """Return the seconds to expect of a full answer without and with flash attention."""
    expected = {}
    for flash in (False, True):
        probe = {"flash_attention": flash, "runs": 1, "answer_tokens": _PROBE_TOKENS}
        run = _run_worker(task.model_copy(update=probe))[0].runs[0]
        # Flash attention may be faster for the prompt and slower for the answer.
        rest = (task.answer_tokens - run.answer_tokens) * run.answer_s / run.answer_tokens
        expected["on" if flash else "off"] = run.total_s + rest
    return expected


def _measure_row(manifest: ExportManifest, task: LatencyTask) -> LatencyRow:
    probed = _probe(task)
    flash = probed["on"] < probed["off"]
    result, log = _run_worker(task.model_copy(update={"flash_attention": flash}))
    # The first image is the warm-up.
    encoding_s = _encoding_seconds(task, log)[1:]
    text, vision = manifest.text(task.precision), manifest.vision(task.precision, task.resolution)
    s_prompt = _spread([run.text_prompt_tokens / run.text_prompt_s for run in result.runs])
    s_gen = _spread([run.answer_tokens / run.answer_s for run in result.runs])
    t_ve, last = _spread(encoding_s), result.runs[-1]
    prompt_s = last.prompt_tokens / s_prompt.median
    return LatencyRow(
        precision=task.precision,
        vision_precision=vision.precision,
        resolution=task.resolution,
        flash_attention=flash,
        probed_s=probed,
        image_tokens=result.image_tokens,
        prompt_tokens=last.prompt_tokens - result.image_tokens,
        answer_tokens=last.answer_tokens,
        t_ve_s=t_ve,
        s_prompt=s_prompt,
        s_gen=s_gen,
        t_total_s=_spread([run.total_s for run in result.runs]),
        predicted_s=t_ve.median + prompt_s + last.answer_tokens / s_gen.median,
        size_bytes=text.bytes + vision.bytes,
        peak_bytes=result.peak_bytes,
    )


def _run_worker(task: LatencyTask) -> tuple[LatencyResult, str]:
    """Measure in a process of its own; return its result and llama.cpp's log."""
    command = [
        sys.executable,
        "-m",
        "imp_data.mobile.measure.latency_worker",
        task.model_dump_json(),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    log = done.stderr.decode(errors="replace")
    if done.returncode == USER_ERROR_STATUS:
        sys.stderr.write("\n".join(log.splitlines()[-_LOG_LINES:]) + "\n")
        raise UserError(*json.loads(done.stdout))
    if done.returncode:
        last = "; ".join(log.strip().splitlines()[-3:])
        remedy = "check that there is enough memory; export again if a file is damaged"
        raise UserError(task.folder, f"cannot be measured: {last}", remedy)
    return LatencyResult.model_validate_json(done.stdout), log


def _encoding_seconds(task: LatencyTask, log: str) -> list[float]:
    """Return the encoding time of each image by the time stamps of llama.cpp's log."""
    starts = [_seconds(match) for match in _ENCODING_START.finditer(log)]
    ends = [_seconds(match) for match in _ENCODING_END.finditer(log)]
    if len(starts) != len(ends) or len(starts) != task.runs + 1:
        problem = f"llama.cpp's log has {len(starts)} encoded images instead of {task.runs + 1}"
        raise UserError(task.folder, problem, "use the pinned version of xllamacpp")
    return [end - start for start, end in zip(starts, ends, strict=True)]


def _seconds(stamp: re.Match[str]) -> float:
    minutes, seconds, milliseconds, microseconds = (int(part) for part in stamp.groups())
    return 60 * minutes + seconds + milliseconds / 1e3 + microseconds / 1e6


def _spread(values: list[float]) -> Spread:
    return Spread(median=statistics.median(values), least=min(values), most=max(values))
