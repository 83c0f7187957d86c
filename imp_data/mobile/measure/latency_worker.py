"""One configuration's latency, measured in a process of its own: its peak memory is its alone.

Run by imp_data.mobile.measure.latency:
`python -m imp_data.mobile.measure.latency_worker '{"folder": …}'`, JSON to stdout,
llama.cpp's log to stderr.
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

# Exit status of a process that printed a UserError's parts.
USER_ERROR_STATUS = 3
# Level of llama.cpp's log at which it says when it encodes an image.
_TRACE = 5


class LatencyTask(BaseModel):
    """What to measure: the paper's protocol has 41 tokens of prompt and 64 of answer."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    precision: Precision
    resolution: int
    flash_attention: bool
    threads: int
    runs: int
    # A llama-server built for this machine; that of the wheel if left out.
    server: Path | None = None
    prompt_tokens: int = 41
    answer_tokens: int = 64


class TimedRun(BaseModel):
    """Seconds of one run, and tokens as llama.cpp counted them."""

    total_s: float
    prompt_s: float
    prompt_tokens: int
    answer_s: float
    answer_tokens: int
    text_prompt_s: float
    text_prompt_tokens: int


class LatencyResult(BaseModel):
    """What the process reports."""

    runs: list[TimedRun]
    image_tokens: int
    load_s: float
    peak_bytes: int


class TimedPrompt(NamedTuple):
    """The pieces around the image, and as many tokens of text as prompt and image have."""

    pieces: tuple[str, str]
    tokens: int


def measure(task: LatencyTask) -> LatencyResult:
    """Load the model once, warm it up, run the protocol."""
    begun = time.perf_counter()
    with _opened(task) as runtime:
        load_s = time.perf_counter() - begun
        image = default_cases()[0].image
        assert image is not None
        prompt = _prompt(runtime, task.prompt_tokens)
        # The first answer also reads the weights from disk.
        warm = runtime.answer(prompt.pieces, image, 2, ignore_end=True)
        patches = int(warm.timings["prompt_n"]) - prompt.tokens
        whole = patches + task.prompt_tokens
        runs = [_run(runtime, prompt, image, whole, task.answer_tokens) for _ in range(task.runs)]
        peak = peak_memory_bytes(runtime.pid)
    return LatencyResult(runs=runs, image_tokens=patches, load_s=load_s, peak_bytes=peak)


def _opened(task: LatencyTask) -> AbstractContextManager[Runtime]:
    settings = RuntimeSettings(
        threads=task.threads, flash_attention=task.flash_attention, verbosity=_TRACE
    )
    model = (task.folder, task.precision, task.resolution, settings)
    return open_llama_server(task.server, *model) if task.server else open_runtime(*model)


def peak_memory_bytes(pid: int | None = None) -> int:
    """The most memory that a process has held; this one if none is named.

    Linux's ru_maxrss would also count what the process that started this one held.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        line = next(ln for ln in status.read_text().splitlines() if ln.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    # Kilobytes, but bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def _prompt(runtime: Runtime, tokens: int) -> TimedPrompt:
    """A question of as many tokens as asked, or the next above that words can make."""
    words = 1
    while True:
        pieces = ("USER: ", "\n" + "the image " * words + "ASSISTANT:")
        count = sum(len(piece) for piece in runtime.tokenize(pieces))
        if count >= tokens:
            return TimedPrompt(pieces, count)
        words += 1


def _run(
    runtime: Runtime, prompt: TimedPrompt, image: Image.Image, whole: int, answer_tokens: int
) -> TimedRun:
    """Text of as many tokens first, for the prompt's speed; then the image and its answer."""
    text = runtime.answer((_text_of(runtime, whole),), None, 1, ignore_end=True)
    begun = time.perf_counter()
    reply = runtime.answer(prompt.pieces, image, answer_tokens, ignore_end=True)
    return TimedRun(
        total_s=time.perf_counter() - begun,
        prompt_s=reply.timings["prompt_ms"] / 1000,
        prompt_tokens=int(reply.timings["prompt_n"]),
        answer_s=reply.timings["predicted_ms"] / 1000,
        answer_tokens=int(reply.timings["predicted_n"]),
        text_prompt_s=text.timings["prompt_ms"] / 1000,
        text_prompt_tokens=int(text.timings["prompt_n"]),
    )


def _text_of(runtime: Runtime, tokens: int) -> str:
    """Words that come to about so many tokens; how many exactly, the run tells."""
    each = len(runtime.tokenize((" the image" * 32,))[0]) / 32
    return " the image" * round(tokens / each)


if __name__ == "__main__":
    try:
        print(measure(LatencyTask.model_validate_json(sys.argv[1])).model_dump_json())
    except UserError as error:
        print(json.dumps([error.where, error.problem, error.remedy]))
        sys.exit(USER_ERROR_STATUS)
