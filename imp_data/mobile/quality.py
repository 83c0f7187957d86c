"""What an export's size costs in quality: answers kept, shift of log-probability, as a chart.

`imp-data quality MODEL DIR`
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from imp_data.mobile.bundle import read_bundle
from imp_data.mobile.cases import Case
from imp_data.mobile.exam import Exam, by_llama_cpp, by_pytorch
from imp_data.mobile.parity import TOKENS, compare
from imp_data.mobile.quantize import Precision
from imp_data.mobile.reference import Reference
from imp_data.mobile.runtime import Runtime, Settings, open_runtime

# The paper's Table 4: what four bits cost Imp-3B on its average of benchmarks.
PAPER_POINTS = 0.2
_PYTORCH = "PyTorch"


class Row(BaseModel):
    """One precision at one resolution, against PyTorch's unrounded weights at that resolution."""

    precision: Precision
    resolution: int
    size_bytes: int
    cases: int
    equal_answers: int
    mean_shift: float
    most_shift: float
    # Right answers to the questions given, in percent.
    score: float | None = None


class Report(BaseModel):
    """Every precision and resolution of an export."""

    model: str
    rows: list[Row]
    # PyTorch's own right answers in percent, by resolution.
    pytorch: dict[int, float] = {}

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield (
            f"{'precision':<9} {'size':>4} {'MB':>9}  {'equal answers':>13} {'mean shift':>10}"
            f"{'  right answers' if self.pytorch else ''}"
        )
        for size, right in self.pytorch.items():
            yield f"{_PYTORCH:<9} {size:>4}{right:>51.1f} %"
        for row in self.rows:
            equal = f"{row.equal_answers} of {row.cases}"
            yield (
                f"{row.precision.value:<9} {row.resolution:>4} {row.size_bytes / 1e6:>9,.1f}"
                f"  {equal:>13} {row.mean_shift:>10.4f}"
                f"{'' if row.score is None else f'{row.score:>13.1f} %'}"
            )
        yield f"(the paper: 4 bits cost {PAPER_POINTS} points of its average)"


def quality(
    folder: Path,
    export: Path,
    cases: Sequence[Case],
    settings: Settings,
    exam: Exam | None = None,
) -> Report:
    """Ask PyTorch once and every precision and resolution the same."""
    bundle, reference = read_bundle(export), Reference(folder)
    rows, right = [], {}
    for size in bundle.resolutions:
        expected = [_expected(reference, case, size) for case in cases]
        if exam:
            right[size] = exam.score(by_pytorch(reference, size))
        for precision in bundle.precisions:
            with open_runtime(export, precision, size, settings) as runtime:
                row = _row(reference, runtime, precision, cases, expected)
                score = exam.score(by_llama_cpp(runtime)) if exam else None
            rows.append(row.model_copy(update={"score": score}))
    return Report(model=bundle.name, rows=rows, pytorch=right)


def _row(
    reference: Reference,
    runtime: Runtime,
    precision: Precision,
    cases: Sequence[Case],
    expected: Sequence[str],
) -> Row:
    bundle, size = runtime.bundle, runtime.size
    compared = [compare(reference, runtime, precision, case) for case in cases]
    said = [_said(runtime, case) for case in cases]
    equal = (ours.strip() == theirs.strip() for ours, theirs in zip(expected, said, strict=True))
    return Row(
        precision=precision,
        resolution=size,
        size_bytes=bundle.text(precision).bytes + bundle.vision(precision, size).bytes,
        cases=len(cases),
        equal_answers=sum(equal),
        mean_shift=sum(row.mean_shift for row in compared) / len(compared),
        most_shift=max(row.most_shift for row in compared),
    )


def _said(runtime: Runtime, case: Case) -> str:
    prompt = runtime.prompt(case.question, case.picture is not None)
    return runtime.answer(prompt, case.picture, TOKENS).text


def _expected(reference: Reference, case: Case, size: int) -> str:
    tokens = reference.tokens(reference.prompt(case.question, case.picture is not None))
    return reference.answer(tokens, case.picture, size, TOKENS)


def chart_svg(report: Report) -> str:
    """Shift, answers kept and right answers by precision, a colour for each resolution."""
    import altair as alt
    import vl_convert

    shift = alt.Y("shift:Q", title="mean shift of log-probability, nats")
    base = _bars(report, _values(report))
    # The text without its own colour, so that it can be read in the page's.
    sizes = base.mark_text(dy=-6, fontSize=9).encode(
        y=shift, text="size:N", color=alt.value("#555")
    )
    parts = [(base.mark_bar().encode(y=shift) + sizes).properties(width=420)]
    parts.append(base.mark_bar().encode(y=_share("equal", "answers kept")).properties(width=260))
    if report.pytorch:
        right = _bars(report, _right(report)).mark_bar()
        parts.append(right.encode(y=_share("right", "right answers")).properties(width=320))
    chart = alt.hconcat(*parts, title=f"{report.model}: what a smaller file costs")
    # A shared one would have the first part's width in all of them.
    chart = chart.resolve_scale(xOffset="independent")
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _bars(report: Report, values: list[dict[str, Any]]) -> Any:
    import altair as alt

    order = [_PYTORCH, *(precision.value for precision in Precision)]
    sizes = [f"{size} px" for size in sorted({row.resolution for row in report.rows}, reverse=True)]
    return alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("precision:N", sort=order, title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("pictures:N", sort=sizes),
        color=alt.Color("pictures:N", sort=sizes, title="pictures"),
    )


def _share(field: str, title: str) -> Any:
    import altair as alt

    return alt.Y(f"{field}:Q", title=title, axis=alt.Axis(format="%")).scale(domain=[0, 1])


def _values(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "precision": row.precision.value,
            "pictures": f"{row.resolution} px",
            "shift": row.mean_shift,
            "equal": row.equal_answers / row.cases,
            "size": f"{row.size_bytes / 1e6:,.3g} MB",
        }
        for row in report.rows
    ]


def _right(report: Report) -> list[dict[str, Any]]:
    scores = [(_PYTORCH, size, score) for size, score in report.pytorch.items()]
    scores += [(row.precision.value, row.resolution, row.score or 0) for row in report.rows]
    return [
        {"precision": precision, "pictures": f"{size} px", "right": score / 100}
        for precision, size, score in scores
    ]
