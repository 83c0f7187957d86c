"""What an export costs on this machine, by the protocol of the Imp paper's Table 4.

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
from imp_data.mobile.gguf.bundle import ExportManifest, read_bundle
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.latency_report import LatencyRow, Report, Spread
from imp_data.mobile.measure.latency_worker import USER_ERROR_STATUS, LatencyResult, LatencyTask
from imp_data.mobile.runtime.llama_server import llama_server_version
from imp_data.parallel.progress import progress

# Of an answer, to choose between attention with and without flash.
_PROBED_TOKENS = 16
# Of llama.cpp's log, where it ends in an error.
_LOG_LINES = 20
# Minutes of a clock, seconds, thousandths, millionths: how each line of llama.cpp's log begins.
_STAMP = r"(\d+)\.(\d\d)\.(\d{3})\.(\d{3})"
_ENCODING = re.compile(rf"^{_STAMP} . .*encoding mtmd batch", re.M)
_ENCODED = re.compile(rf"^{_STAMP} . .*decoding image batch 1/", re.M)


def latency(
    folder: Path, precisions: list[Precision], threads: int, runs: int, server: Path | None = None
) -> Report:
    """Measure these precisions at every resolution of an export, by the wheel or by `server`."""
    bundle = read_bundle(folder)
    before = os.getloadavg()[0]
    settings = [(p, size) for p in precisions for size in bundle.resolutions]
    rows = []
    with progress("latency", "configurations", len(settings)) as told:
        for precision, resolution in settings:
            task = LatencyTask(
                folder=folder,
                precision=precision,
                resolution=resolution,
                flash_attention=False,
                threads=threads,
                runs=runs,
                server=server,
            )
            rows.append(_row(bundle, task))
            told.add(1)
    return Report(
        model=bundle.name,
        runtime=llama_server_version(server) if server else f"xllamacpp {version('xllamacpp')}",
        threads=threads,
        runs=runs,
        load_before=before,
        rows=rows,
    )


def _row(bundle: ExportManifest, task: LatencyTask) -> LatencyRow:
    probed = {}
    for flash in (False, True):
        probe = {"flash_attention": flash, "runs": 1, "answer_tokens": _PROBED_TOKENS}
        run = _timed(task.model_copy(update=probe))[0].runs[0]
        # It may be faster at the prompt and slower at the answer.
        left = (task.answer_tokens - run.answer_tokens) * run.answer_s / run.answer_tokens
        probed["on" if flash else "off"] = run.total_s + left
    flash = probed["on"] < probed["off"]
    times, log = _timed(task.model_copy(update={"flash_attention": flash}))
    # The first image warmed the model up.
    encoded = _encoding_seconds(task, log)[1:]
    text, vision = bundle.text(task.precision), bundle.vision(task.precision, task.resolution)
    s_prompt = _spread([run.text_prompt_tokens / run.text_prompt_s for run in times.runs])
    s_gen = _spread([run.answer_tokens / run.answer_s for run in times.runs])
    t_ve, last = _spread(encoded), times.runs[-1]
    prompted = last.prompt_tokens / s_prompt.median
    return LatencyRow(
        precision=task.precision,
        vision_precision=vision.precision,
        resolution=task.resolution,
        flash_attention=flash,
        probed_s=probed,
        image_tokens=times.image_tokens,
        prompt_tokens=last.prompt_tokens - times.image_tokens,
        answer_tokens=last.answer_tokens,
        t_ve_s=t_ve,
        s_prompt=s_prompt,
        s_gen=s_gen,
        t_total_s=_spread([run.total_s for run in times.runs]),
        predicted_s=t_ve.median + prompted + last.answer_tokens / s_gen.median,
        size_bytes=text.bytes + vision.bytes,
        peak_bytes=times.peak_bytes,
    )


def _timed(task: LatencyTask) -> tuple[LatencyResult, str]:
    """The stopwatch's report and llama.cpp's log."""
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
        remedy = "see whether the memory suffices, and export again if a file is damaged"
        raise UserError(task.folder, f"could not be measured: {last}", remedy)
    return LatencyResult.model_validate_json(done.stdout), log


def _encoding_seconds(task: LatencyTask, log: str) -> list[float]:
    """From llama.cpp's own clock: when it began to encode each image and when it had it."""
    begun = [_seconds(found) for found in _ENCODING.finditer(log)]
    ended = [_seconds(found) for found in _ENCODED.finditer(log)]
    if len(begun) != len(ended) or len(begun) != task.runs + 1:
        problem = f"llama.cpp's log tells of {len(begun)} images of {task.runs + 1}"
        raise UserError(task.folder, problem, "use the pinned version of xllamacpp")
    return [end - begin for begin, end in zip(begun, ended, strict=True)]


def _seconds(found: re.Match[str]) -> float:
    minutes, seconds, thousandths, millionths = (int(part) for part in found.groups())
    return 60 * minutes + seconds + thousandths / 1e3 + millionths / 1e6


def _spread(values: list[float]) -> Spread:
    return Spread(median=statistics.median(values), least=min(values), most=max(values))
