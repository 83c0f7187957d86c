"""Measure one configuration in a process of its own, so that its peak memory counts nothing else.

imp_data.mobile.measure.latency runs
`python -m imp_data.mobile.measure.latency_worker '{"folder": …}'`; the result is JSON on stdout,
llama.cpp's log goes to stderr.
"""

import json
import resource
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from pydantic import BaseModel, ConfigDict

from imp_data.errors import UserError
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.test_prompts import default_cases
from imp_data.mobile.runtime.in_process import Runtime, RuntimeSettings, open_runtime
from imp_data.mobile.runtime.llama_server import open_llama_server

# Exit status after a UserError, whose parts are printed as JSON.
USER_ERROR_STATUS = 3
# Level at which llama.cpp logs the start and end of encoding an image.
_TRACE = 5


class LatencyTask(BaseModel):
    """What to measure; the paper's protocol has 41 prompt tokens and 64 answer tokens."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    precision: Precision
    resolution: int
    flash_attention: bool
    threads: int
    runs: int
    # A llama-server built for this machine; the wheel's llama.cpp by default.
    server: Path | None = None
    prompt_tokens: int = 41
    answer_tokens: int = 64


class TimedRun(BaseModel):
    """Seconds of one run, and llama.cpp's token counts."""

    total_s: float
    prompt_s: float
    prompt_tokens: int
    answer_s: float
    answer_tokens: int
    text_prompt_s: float
    text_prompt_tokens: int


class LatencyResult(BaseModel):
    """The output of this process."""

    runs: list[TimedRun]
    image_tokens: int
    load_s: float
    peak_bytes: int


class TimedPrompt(NamedTuple):
    """The text before and after the image, and its number of tokens."""

    pieces: tuple[str, str]
    tokens: int


def measure(task: LatencyTask) -> LatencyResult:
    """Load the model once, warm it up, and run the protocol."""
    start = time.perf_counter()
    with _open(task) as runtime:
        load_s = time.perf_counter() - start
        image = default_cases()[0].image
        assert image is not None
        prompt = _build_prompt(runtime, task.prompt_tokens)
        # The first answer also reads the weights from disk.
        warm_up = runtime.answer(prompt.pieces, image, 2, ignore_end=True)
        image_tokens = int(warm_up.timings["prompt_n"]) - prompt.tokens
        total = image_tokens + task.prompt_tokens
        runs = [_run(runtime, prompt, image, total, task.answer_tokens) for _ in range(task.runs)]
        peak = peak_memory_bytes(runtime.pid)
    return LatencyResult(runs=runs, image_tokens=image_tokens, load_s=load_s, peak_bytes=peak)


def _open(task: LatencyTask) -> AbstractContextManager[Runtime]:
    settings = RuntimeSettings(
        threads=task.threads, flash_attention=task.flash_attention, verbosity=_TRACE
    )
    model = (task.folder, task.precision, task.resolution, settings)
    return open_llama_server(task.server, *model) if task.server else open_runtime(*model)


def peak_memory_bytes(pid: int | None = None) -> int:
    """Return the peak memory of a process, of this one by default.

    On Linux, ru_maxrss would also count the peak of the parent process.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        line = next(ln for ln in status.read_text().splitlines() if ln.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    # In kilobytes; on macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def _build_prompt(runtime: Runtime, tokens: int) -> TimedPrompt:
    """Return a question of `tokens` tokens, or of the next larger number that words give."""
    words = 1
    while True:
        pieces = ("USER: ", "\n" + "the image " * words + "ASSISTANT:")
        count = sum(len(piece) for piece in runtime.tokenize(pieces))
        if count >= tokens:
            return TimedPrompt(pieces, count)
        words += 1


def _run(
    runtime: Runtime, prompt: TimedPrompt, image: Image.Image, total: int, answer_tokens: int
) -> TimedRun:
    """Time a text prompt of `total` tokens, then the prompt with the image and its answer."""
    text = runtime.answer((_build_text(runtime, total),), None, 1, ignore_end=True)
    start = time.perf_counter()
    reply = runtime.answer(prompt.pieces, image, answer_tokens, ignore_end=True)
    return TimedRun(
        total_s=time.perf_counter() - start,
        prompt_s=reply.timings["prompt_ms"] / 1000,
        prompt_tokens=int(reply.timings["prompt_n"]),
        answer_s=reply.timings["predicted_ms"] / 1000,
        answer_tokens=int(reply.timings["predicted_n"]),
        text_prompt_s=text.timings["prompt_ms"] / 1000,
        text_prompt_tokens=int(text.timings["prompt_n"]),
    )


def _build_text(runtime: Runtime, tokens: int) -> str:
    """Return a text of about `tokens` tokens; llama.cpp reports the exact number."""
    tokens_per_phrase = len(runtime.tokenize((" the image" * 32,))[0]) / 32
    return " the image" * round(tokens / tokens_per_phrase)


if __name__ == "__main__":
    try:
        print(measure(LatencyTask.model_validate_json(sys.argv[1])).model_dump_json())
    except UserError as error:
        print(json.dumps([error.where, error.problem, error.remedy]))
        sys.exit(USER_ERROR_STATUS)
