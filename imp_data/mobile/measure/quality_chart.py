"""Draw quality against file size: a position per pair of files, a line per resolution."""

from typing import Any

from imp_data.mobile.measure.quality import PAPER_POINTS, PYTORCH, QualityReport

# Colours on white; the first two are distinguishable with any colour vision.
_COLOURS = ["#1b6ca8", "#d9730d", "#5b8c5a", "#8a5a9e"]
# Smaller shifts are not visible, and a logarithmic axis requires positive values.
_LEAST_SHIFT = 1e-5


def chart_svg(report: QualityReport) -> str:
    """Return an SVG chart of shift of log-probability, answers kept and right answers."""
    import altair as alt
    import vl_convert

    files = _axis_labels(report)
    points = [_point(row, files[row.label]) for row in report.rows]
    order = list(files.values())
    log, share = alt.Scale(type="log"), alt.Scale(domain=[0, 1])
    panels = [
        _panel(report, points, order, "shift", "mean shift of log-probability, nats", log),
        _panel(report, points, order, "kept", "answers kept", share),
    ]
    if report.pytorch:
        points += _pytorch_points(report)
        zoomed = alt.Scale(zero=False, padding=12)
        panels.append(_panel(report, points, [PYTORCH, *order], "right", "right answers", zoomed))
    title = alt.TitleParams(
        f"{report.model}: quality lost by smaller files",
        subtitle=f"against PyTorch's unrounded weights; the paper: 4 bits cost {PAPER_POINTS}"
        " points of its average",
    )
    # Side by side if they fit the width of a page.
    concat = alt.hconcat if len(order) <= 5 else alt.vconcat
    chart = concat(*panels, title=title, spacing=36).configure_view(stroke=None)
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _axis_labels(report: QualityReport) -> dict[str, str]:
    """Return the label of each precision, with the size of its files in a second line."""
    sizes: dict[str, int] = {}
    texts: dict[str, int] = {}
    for row in report.rows:
        sizes[row.label] = max(row.size_bytes, sizes.get(row.label, 0))
        texts[row.precision] = max(row.size_bytes, texts.get(row.precision, 0))
    # Group the labels with the same text model.
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


def _pytorch_points(report: QualityReport) -> list[dict[str, Any]]:
    scores = report.pytorch.items()
    return [{"files": PYTORCH, "images": f"{size} px", "right": n / 100} for size, n in scores]


def _panel(
    report: QualityReport,
    points: list[dict[str, Any]],
    order: list[str],
    field: str,
    title: str,
    scale: Any,
) -> Any:
    """Return the chart of one measure for every pair of files."""
    import altair as alt

    sizes = [f"{size} px" for size in sorted({row.resolution for row in report.rows}, reverse=True)]
    labels = alt.Axis(labelAngle=0, labelExpr="split(datum.label, '|')", labelLimit=0, grid=False)
    powers = [10.0**n for n in range(-5, 2)]
    ticks = {"values": powers} if field == "shift" else {"format": "%", "tickCount": 5}
    legend = alt.Legend(title="images", orient="bottom", direction="horizontal", symbolOpacity=1)
    colour = alt.Scale(domain=sizes, range=_COLOURS[: len(sizes)])
    values = [point for point in points if point.get(field) is not None]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("files:N", sort=order, title=None, axis=labels),
        # Offset the marks, since they would otherwise hide each other.
        xOffset=alt.XOffset("images:N", scale=alt.Scale(domain=sizes, paddingOuter=1)),
        y=alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(**ticks)),
        color=alt.Color("images:N", scale=colour, legend=legend),
        shape=alt.Shape("images:N", scale=alt.Scale(domain=sizes), legend=legend),
    )
    marks = base.mark_line(opacity=0.4) + base.mark_point(filled=True, size=70, opacity=1)
    if field == "right":
        marks += base.mark_text(dy=-11, fontSize=9).encode(text=alt.Text("right:Q", format=".1%"))
    return marks.properties(width=80 * len(order), height=240)
