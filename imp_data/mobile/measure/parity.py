"""Compare an export's answers in llama.cpp with its model's in PyTorch, token by token.

`imp-data parity MODEL DIR`
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel

from imp_data.mobile.gguf.export_manifest import read_export_manifest
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.measure.pytorch_reference import PytorchReference
from imp_data.mobile.measure.test_prompts import Case
from imp_data.mobile.runtime.in_process import Runtime, RuntimeSettings, open_runtime

# Tokens of each answer, and the number of most likely tokens compared at each position.
ANSWER_TOKENS, TOP_LOGPROBS = 16, 20


class Tolerance(NamedTuple):
    """Allowed shift of log-probability (nats) of a precision: mean and maximum."""

    mean: float
    most: float


# PyTorch's weights are rounded as the file's are, so that an error shows at four bits as well as at
# sixteen. The remaining difference is F16 arithmetic (measured: mean below 0.001, at most 0.005) or
# 8-bit activations (below 0.03 and 0.17), on random networks, which exaggerate it.
TOLERANCES = {
    Precision.F16: Tolerance(0.004, 0.03),
    Precision.Q8_0: Tolerance(0.08, 0.8),
    Precision.Q4_0: Tolerance(0.08, 0.8),
    Precision.Q4_K_M: Tolerance(0.08, 0.8),
}


class ParityRow(BaseModel):
    """One case in one precision at one resolution."""

    case: str
    precision: Precision
    resolution: int
    same_prompt: bool
    tokens: int
    agreed: int
    mean_shift: float
    most_shift: float
    # The most by which PyTorch prefers its own token to llama.cpp's, in nats.
    regret: float
    answer: str
    reference_answer: str
    problems: list[str]


class ParityReport(BaseModel):
    """All comparisons of an export."""

    model: str
    threads: int
    rows: list[ParityRow]

    @property
    def passed(self) -> bool:
        """Whether every comparison is within its tolerance."""
        return not any(row.problems for row in self.rows)

    def lines(self) -> Iterator[str]:
        """Yield a text table."""
        yield (
            f"{'precision':<9} {'size':>4}  {'case':<12} {'greedy':>7} {'mean shift':>10}"
            f" {'most':>8} {'regret':>8}  verdict"
        )
        for row in self.rows:
            yield (
                f"{row.precision.value:<9} {row.resolution:>4}  {row.case[:12]:<12}"
                f" {row.agreed:>3}/{row.tokens:<3} {row.mean_shift:>10.5f} {row.most_shift:>8.4f}"
                f" {row.regret:>8.4f}  {'; '.join(row.problems) or 'equal within tolerance'}"
            )


def compare_export(
    folder: Path, export: Path, cases: Sequence[Case], settings: RuntimeSettings
) -> ParityReport:
    """Compare every precision and resolution of an export with its model."""
    manifest = read_export_manifest(export)
    rows = []
    for precision in manifest.precisions:
        reference = PytorchReference(folder, precision)
        for size in manifest.resolutions:
            with open_runtime(export, precision, size, settings) as runtime:
                for case in cases:
                    rows.append(compare_answers(reference, runtime, precision, case))
    return ParityReport(model=manifest.name, threads=settings.threads, rows=rows)


def compare_answers(
    reference: PytorchReference, runtime: Runtime, precision: Precision, case: Case
) -> ParityRow:
    """Answer greedily in llama.cpp, then compute PyTorch's log-probabilities of the same tokens."""
    with_image = case.image is not None
    prompt = runtime.prompt(case.question, with_image)
    reference_tokens = reference.tokenize(reference.prompt(case.question, with_image))
    same_prompt = runtime.tokenize(prompt) == reference_tokens
    reply = runtime.answer(prompt, case.image, ANSWER_TOKENS, top=TOP_LOGPROBS, ignore_end=True)
    expected = reference.logprobs(reference_tokens, case.image, runtime.size, reply.tokens)
    shifts, regrets = [0.0], [0.0]
    for step in reply.steps:
        logprobs = expected[step.position]
        shifts += [abs(float(logprobs[token]) - other) for token, other in step.logprobs.items()]
        likeliest = max(step.logprobs, key=lambda token: step.logprobs[token])
        regrets.append(float(logprobs.max() - logprobs[likeliest]))
    row = ParityRow(
        case=case.name,
        precision=precision,
        resolution=runtime.size,
        same_prompt=same_prompt,
        tokens=len(reply.steps),
        agreed=sum(regret == 0 for regret in regrets[1:]),
        mean_shift=float(np.mean(shifts[1:] or [0.0])),
        most_shift=max(shifts),
        regret=max(regrets),
        answer=reply.text,
        reference_answer=reference.answer(
            reference_tokens, case.image, runtime.size, ANSWER_TOKENS
        ),
        problems=[],
    )
    return row.model_copy(update={"problems": list(_problems(row))})


def _problems(row: ParityRow) -> Iterator[str]:
    allowed = TOLERANCES[row.precision]
    if not row.same_prompt:
        yield "the prompt's tokens differ"
    if not row.tokens:
        yield "no token could be compared"
    if row.mean_shift > allowed.mean:
        yield f"mean shift above {allowed.mean:g}"
    if row.most_shift > allowed.most:
        yield f"a shift above {allowed.most:g}"
    if row.regret > allowed.most:
        yield f"PyTorch prefers another token by more than {allowed.most:g}"
