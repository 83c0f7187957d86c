"""Measure the quality of each precision and resolution against the model in PyTorch.

`imp-data quality MODEL DIR`
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from imp_data.mobile.gguf.export_manifest import ExportManifest, read_export_manifest
from imp_data.mobile.gguf.quantize import VISION_FOR_TEXT, Precision
from imp_data.mobile.measure.parity import ANSWER_TOKENS, compare_answers
from imp_data.mobile.measure.pytorch_reference import PytorchReference
from imp_data.mobile.measure.qa_accuracy import QuestionSet, llama_cpp_model, pytorch_model
from imp_data.mobile.measure.test_prompts import Case
from imp_data.mobile.runtime.in_process import Runtime, RuntimeSettings, open_runtime

# The paper's Table 4: points that Imp-3B loses at four bits on its average of benchmarks.
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
    # Correct answers to the question set, in percent.
    score: float | None = None

    @property
    def label(self) -> str:
        """The text model's precision, and the tower's if it has more bits."""
        own = self.vision_precision is VISION_FOR_TEXT[self.precision]
        return self.precision.value + ("" if own else f" + {self.vision_precision.value}")


class QualityReport(BaseModel):
    """Every precision and resolution of an export."""

    model: str
    rows: list[QualityRow]
    # PyTorch's correct answers in percent, by resolution.
    pytorch: dict[int, float] = {}

    def lines(self) -> Iterator[str]:
        """Yield a text table."""
        yield (
            f"{'precision':<14} {'size':>4} {'MB':>9}  {'equal answers':>13} {'mean shift':>10}"
            f"{'  right answers' if self.pytorch else ''}"
        )
        for size, percent in self.pytorch.items():
            yield f"{PYTORCH:<14} {size:>4}{percent:>51.1f} %"
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
    question_set: QuestionSet | None = None,
    towers: bool = False,
) -> QualityReport:
    """Compare the answers of every precision and resolution with PyTorch's.

    With `towers`, also combine each text model with every vision tower of more bits.
    """
    manifest, reference = read_export_manifest(export), PytorchReference(folder)
    rows, reference_scores = [], {}
    for size in manifest.resolutions:
        expected = [_reference_answer(reference, case, size) for case in cases]
        if question_set:
            reference_scores[size] = question_set.score(pytorch_model(reference, size))
        for precision, vision in _pairs(manifest, towers):
            with open_runtime(export, precision, size, replace(settings, vision=vision)) as runtime:
                row = _measure_row(reference, runtime, (precision, vision), cases, expected)
                score = question_set.score(llama_cpp_model(runtime)) if question_set else None
            rows.append(row.model_copy(update={"score": score}))
    return QualityReport(model=manifest.name, rows=rows, pytorch=reference_scores)


def _pairs(manifest: ExportManifest, towers: bool) -> Iterator[tuple[Precision, Precision]]:
    """Yield the precisions of a text model and a vision tower."""
    for precision in manifest.precisions:
        for vision in manifest.vision_precisions(precision)[0 if towers else -1 :]:
            yield precision, vision


def _measure_row(
    reference: PytorchReference,
    runtime: Runtime,
    pair: tuple[Precision, Precision],
    cases: Sequence[Case],
    expected: Sequence[str],
) -> QualityRow:
    (precision, vision), manifest, size = pair, runtime.bundle, runtime.size
    compared = [compare_answers(reference, runtime, precision, case) for case in cases]
    answers = [_answer(runtime, case) for case in cases]
    pairs = zip(expected, answers, strict=True)
    equal = (reference.strip() == answer.strip() for reference, answer in pairs)
    return QualityRow(
        precision=precision,
        vision_precision=vision,
        resolution=size,
        size_bytes=manifest.text(precision).bytes + manifest.vision(precision, size, vision).bytes,
        cases=len(cases),
        equal_answers=sum(equal),
        mean_shift=sum(row.mean_shift for row in compared) / len(compared),
        most_shift=max(row.most_shift for row in compared),
    )


def _answer(runtime: Runtime, case: Case) -> str:
    prompt = runtime.prompt(case.question, case.image is not None)
    return runtime.answer(prompt, case.image, ANSWER_TOKENS).text


def _reference_answer(reference: PytorchReference, case: Case, size: int) -> str:
    tokens = reference.tokenize(reference.prompt(case.question, case.image is not None))
    return reference.answer(tokens, case.image, size, ANSWER_TOKENS)
