"""Quality against size, drawn: a place on the axis for each pair of files, a line for each
resolution."""

from typing import Any

from imp_data.mobile.measure.quality import PAPER_POINTS, PYTORCH, QualityReport

# Two that are told apart with any colour vision, on white.
_COLOURS = ["#1b6ca8", "#d9730d", "#5b8c5a", "#8a5a9e"]
# Below it nothing is to be seen, and a logarithm wants more than nothing.
_LEAST_SHIFT = 1e-5


def chart_svg(report: QualityReport) -> str:
    """Shift of log-probability, answers kept and right answers, the largest files first."""
    import altair as alt
    import vl_convert

    files = _files(report)
    points = [_point(row, files[row.label]) for row in report.rows]
    order = list(files.values())
    log, share = alt.Scale(type="log"), alt.Scale(domain=[0, 1])
    parts = [
        _part(report, points, order, "shift", "mean shift of log-probability, nats", log),
        _part(report, points, order, "kept", "answers kept", share),
    ]
    if report.pytorch:
        points += _pytorch(report)
        near = alt.Scale(zero=False, padding=12)
        parts.append(_part(report, points, [PYTORCH, *order], "right", "right answers", near))
    title = alt.TitleParams(
        f"{report.model}: what a smaller file costs",
        subtitle=f"against PyTorch's unrounded weights; the paper: 4 bits cost {PAPER_POINTS}"
        " points of its average",
    )
    # Beside each other as long as a page is wide enough.
    together = alt.hconcat if len(order) <= 5 else alt.vconcat
    chart = together(*parts, title=title, spacing=36).configure_view(stroke=None)
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _files(report: QualityReport) -> dict[str, str]:
    """What stands below the axis: the precision and, in a second line, the size of its files."""
    sizes: dict[str, int] = {}
    texts: dict[str, int] = {}
    for row in report.rows:
        sizes[row.label] = max(row.size_bytes, sizes.get(row.label, 0))
        texts[row.precision] = max(row.size_bytes, texts.get(row.precision, 0))
    # Those of one text together.
    ordered = sorted(sizes, key=lambda label: (-texts[label.split()[0]], -sizes[label]))
    return {label: f"{label}|{_size(sizes[label])}" for label in ordered}


def _size(nbytes: int) -> str:
    megabytes = nbytes / 1e6
    if megabytes >= 1000:
        return f"{megabytes / 1000:.2f} GB"
    return f"{megabytes:.0f} MB" if megabytes >= 100 else f"{megabytes:.1f} MB"


def _point(row: Any, files: str) -> dict[str, Any]:
    return {
        "files": files,
        "images": f"{row.resolution} px",
        "shift": max(row.mean_shift, _LEAST_SHIFT),
        "kept": row.equal_answers / row.cases,
        "right": None if row.score is None else row.score / 100,
    }


def _pytorch(report: QualityReport) -> list[dict[str, Any]]:
    right = report.pytorch.items()
    return [{"files": PYTORCH, "images": f"{size} px", "right": n / 100} for size, n in right]


def _part(
    report: QualityReport,
    points: list[dict[str, Any]],
    order: list[str],
    field: str,
    title: str,
    scale: Any,
) -> Any:
    """One measure of every pair of files."""
    import altair as alt

    sizes = [f"{size} px" for size in sorted({row.resolution for row in report.rows}, reverse=True)]
    labels = alt.Axis(labelAngle=0, labelExpr="split(datum.label, '|')", labelLimit=0, grid=False)
    powers = [10.0**n for n in range(-5, 2)]
    shown = {"values": powers} if field == "shift" else {"format": "%", "tickCount": 5}
    legend = alt.Legend(title="images", orient="bottom", direction="horizontal", symbolOpacity=1)
    colour = alt.Scale(domain=sizes, range=_COLOURS[: len(sizes)])
    given = [point for point in points if point.get(field) is not None]
    base = alt.Chart(alt.Data(values=given)).encode(
        x=alt.X("files:N", sort=order, title=None, axis=labels),
        # A little beside each other, or one would hide the other.
        xOffset=alt.XOffset("images:N", scale=alt.Scale(domain=sizes, paddingOuter=1)),
        y=alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(**shown)),
        color=alt.Color("images:N", scale=colour, legend=legend),
        shape=alt.Shape("images:N", scale=alt.Scale(domain=sizes), legend=legend),
    )
    drawn = base.mark_line(opacity=0.4) + base.mark_point(filled=True, size=70, opacity=1)
    if field == "right":
        drawn += base.mark_text(dy=-11, fontSize=9).encode(text=alt.Text("right:Q", format=".1%"))
    return drawn.properties(width=80 * len(order), height=240)
