"""What an export's size costs in quality: answers kept, shift of log-probability, as a chart.

`imp-data quality MODEL DIR`
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from imp_data.mobile.gguf.bundle import ExportManifest, read_bundle
from imp_data.mobile.gguf.quantize import VISION_FOR_TEXT, Precision
from imp_data.mobile.measure.parity import ANSWER_TOKENS, compare_answers
from imp_data.mobile.measure.pytorch_reference import PytorchReference
from imp_data.mobile.measure.qa_accuracy import QuestionSet, llama_cpp_model, pytorch_model
from imp_data.mobile.measure.test_prompts import Case
from imp_data.mobile.runtime.in_process import Runtime, RuntimeSettings, open_runtime

# The paper's Table 4: what four bits cost Imp-3B on its average of benchmarks.
PAPER_POINTS = 0.2
PYTORCH = "PyTorch"


class QualityRow(BaseModel):
    """One precision at one resolution, against PyTorch's unrounded weights at that resolution."""

    precision: Precision
    vision_precision: Precision
    resolution: int
    size_bytes: int
    cases: int
    equal_answers: int
    mean_shift: float
    most_shift: float
    # Right answers to the questions given, in percent.
    score: float | None = None

    @property
    def label(self) -> str:
        """The text's precision, and the tower's where it has more bits."""
        own = self.vision_precision is VISION_FOR_TEXT[self.precision]
        return self.precision.value + ("" if own else f" + {self.vision_precision.value}")


class QualityReport(BaseModel):
    """Every precision and resolution of an export."""

    model: str
    rows: list[QualityRow]
    # PyTorch's own right answers in percent, by resolution.
    pytorch: dict[int, float] = {}

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield (
            f"{'precision':<14} {'size':>4} {'MB':>9}  {'equal answers':>13} {'mean shift':>10}"
            f"{'  right answers' if self.pytorch else ''}"
        )
        for size, right in self.pytorch.items():
            yield f"{PYTORCH:<14} {size:>4}{right:>51.1f} %"
        for row in self.rows:
            equal = f"{row.equal_answers} of {row.cases}"
            yield (
                f"{row.label:<14} {row.resolution:>4} {row.size_bytes / 1e6:>9,.1f}"
                f"  {equal:>13} {row.mean_shift:>10.4f}"
                f"{'' if row.score is None else f'{row.score:>13.1f} %'}"
            )
        yield f"(the paper: 4 bits cost {PAPER_POINTS} points of its average)"


def measure_quality(
    folder: Path,
    export: Path,
    cases: Sequence[Case],
    settings: RuntimeSettings,
    exam: QuestionSet | None = None,
    towers: bool = False,
) -> QualityReport:
    """Ask PyTorch once and every precision and resolution the same.

    With `towers` each text also with every vision tower of more bits.
    """
    bundle, reference = read_bundle(export), PytorchReference(folder)
    rows, right = [], {}
    for size in bundle.resolutions:
        expected = [_expected(reference, case, size) for case in cases]
        if exam:
            right[size] = exam.score(pytorch_model(reference, size))
        for precision, vision in _pairs(bundle, towers):
            given = replace(settings, vision=vision)
            with open_runtime(export, precision, size, given) as runtime:
                row = _row(reference, runtime, (precision, vision), cases, expected)
                score = exam.score(llama_cpp_model(runtime)) if exam else None
            rows.append(row.model_copy(update={"score": score}))
    return QualityReport(model=bundle.name, rows=rows, pytorch=right)


def _pairs(bundle: ExportManifest, towers: bool) -> Iterator[tuple[Precision, Precision]]:
    """A text's precision and its tower's."""
    for precision in bundle.precisions:
        for vision in bundle.vision_precisions(precision)[0 if towers else -1 :]:
            yield precision, vision


def _row(
    reference: PytorchReference,
    runtime: Runtime,
    pair: tuple[Precision, Precision],
    cases: Sequence[Case],
    expected: Sequence[str],
) -> QualityRow:
    (precision, vision), bundle, size = pair, runtime.bundle, runtime.size
    compared = [compare_answers(reference, runtime, precision, case) for case in cases]
    said = [_said(runtime, case) for case in cases]
    equal = (ours.strip() == theirs.strip() for ours, theirs in zip(expected, said, strict=True))
    return QualityRow(
        precision=precision,
        vision_precision=vision,
        resolution=size,
        size_bytes=bundle.text(precision).bytes + bundle.vision(precision, size, vision).bytes,
        cases=len(cases),
        equal_answers=sum(equal),
        mean_shift=sum(row.mean_shift for row in compared) / len(compared),
        most_shift=max(row.most_shift for row in compared),
    )


def _said(runtime: Runtime, case: Case) -> str:
    prompt = runtime.prompt(case.question, case.image is not None)
    return runtime.answer(prompt, case.image, ANSWER_TOKENS).text


def _expected(reference: PytorchReference, case: Case, size: int) -> str:
    tokens = reference.tokenize(reference.prompt(case.question, case.image is not None))
    return reference.answer(tokens, case.image, size, ANSWER_TOKENS)
