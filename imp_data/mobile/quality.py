"""What an export's size costs in quality: answers kept, shift of log-probability, as a chart.

`imp-data quality MODEL DIR`
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel

from imp_data.mobile.bundle import read_bundle
from imp_data.mobile.cases import Case
from imp_data.mobile.parity import TOKENS, compare
from imp_data.mobile.quantize import Precision
from imp_data.mobile.reference import Reference
from imp_data.mobile.runtime import Settings, open_runtime

# The paper's Table 4: what four bits cost Imp-3B on its average of benchmarks.
PAPER_POINTS = 0.2


class Row(BaseModel):
    """One precision at one resolution, against PyTorch's unrounded weights at that resolution."""

    precision: Precision
    resolution: int
    size_bytes: int
    cases: int
    equal_answers: int
    mean_shift: float
    most_shift: float


class Report(BaseModel):
    """Every precision and resolution of an export."""

    model: str
    rows: list[Row]

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield f"{'precision':<9} {'size':>4} {'MB':>9}  {'equal answers':>13} {'mean shift':>10}"
        for row in self.rows:
            equal = f"{row.equal_answers} of {row.cases}"
            yield (
                f"{row.precision.value:<9} {row.resolution:>4} {row.size_bytes / 1e6:>9,.1f}"
                f"  {equal:>13} {row.mean_shift:>10.4f}"
            )
        yield f"(the paper: 4 bits cost {PAPER_POINTS} points of its average)"


def quality(folder: Path, export: Path, cases: Sequence[Case], settings: Settings) -> Report:
    """Ask PyTorch once and every precision and resolution the same."""
    bundle, reference = read_bundle(export), Reference(folder)
    rows = []
    for size in bundle.resolutions:
        expected = [_expected(reference, case, size) for case in cases]
        for precision in bundle.precisions:
            parts = (bundle.text(precision), bundle.vision(precision, size))
            with open_runtime(export, precision, size, settings) as runtime:
                compared = [compare(reference, runtime, precision, case) for case in cases]
                said = [
                    runtime.answer(
                        runtime.prompt(case.question, case.picture is not None),
                        case.picture,
                        TOKENS,
                    ).text
                    for case in cases
                ]
            rows.append(
                Row(
                    precision=precision,
                    resolution=size,
                    size_bytes=sum(part.bytes for part in parts),
                    cases=len(cases),
                    equal_answers=sum(
                        ours.strip() == theirs.strip()
                        for ours, theirs in zip(expected, said, strict=True)
                    ),
                    mean_shift=sum(row.mean_shift for row in compared) / len(compared),
                    most_shift=max(row.most_shift for row in compared),
                )
            )
    return Report(model=bundle.name, rows=rows)


def _expected(reference: Reference, case: Case, size: int) -> str:
    tokens = reference.tokens(reference.prompt(case.question, case.picture is not None))
    return reference.answer(tokens, case.picture, size, TOKENS)


def chart_svg(report: Report) -> str:
    """Shift and answers kept by precision, sizes above the bars, a colour for each resolution."""
    import altair as alt
    import vl_convert

    values = [
        {
            "precision": row.precision.value,
            "pictures": f"{row.resolution} px",
            "shift": row.mean_shift,
            "equal": row.equal_answers / row.cases,
            "size": f"{row.size_bytes / 1e6:,.3g} MB",
        }
        for row in report.rows
    ]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("precision:N", sort=[p.value for p in Precision], title=None),
        xOffset=alt.XOffset("pictures:N", sort="descending"),
        color=alt.Color("pictures:N", sort="descending", title="pictures"),
    )
    shift = alt.Y("shift:Q", title="mean shift of log-probability, nats")
    equal = alt.Y("equal:Q", title="answers kept", axis=alt.Axis(format="%"))
    # The text without its own colour, so that it can be read in the page's.
    sizes = base.mark_text(dy=-6, fontSize=9).encode(
        y=shift, text="size:N", color=alt.value("#555")
    )
    left = (base.mark_bar().encode(y=shift) + sizes).properties(width=420)
    right = base.mark_bar().encode(y=equal.scale(domain=[0, 1])).properties(width=260)
    chart = alt.hconcat(left, right, title=f"{report.model}: what a smaller file costs")
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))
