"""The loss curve of a run as SVG and as interactive HTML, from one specification."""

from pathlib import Path
from typing import Any

from imp_data.store import write_text
from imp_data.training.reporting import read_metrics

_POINTS = 2000


def draw_curve(folder: Path, title: str) -> list[Path]:
    """loss.svg and loss.html from the run's metrics.jsonl: each step, and their running mean."""
    import altair as alt
    import vl_convert

    points = _thinned(read_metrics(folder))
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("step:Q", title="step"), y=alt.Y("loss:Q", title="loss")
    )
    mean = base.mark_line(color="#1f6feb", strokeWidth=2).encode(y=alt.Y("mean:Q", title="loss"))
    chart = (base.mark_line(opacity=0.35, color="#1f6feb") + mean).properties(
        title=title, width=640, height=320
    )
    spec = chart.to_json()
    svg, page = folder / "loss.svg", folder / "loss.html"
    write_text(svg, vl_convert.vegalite_to_svg(spec))
    write_text(page, vl_convert.vegalite_to_html(spec, bundle=True))
    return [svg, page]


def _thinned(metrics: list[dict[str, Any]]) -> list[dict[str, float]]:
    """At most so many points as a chart can show, each with the mean of the 2 % of steps before."""
    span = max(1, len(metrics) // 50)
    points, losses = [], [line["loss"] for line in metrics]
    for n in range(0, len(metrics), max(1, len(metrics) // _POINTS)):
        window = losses[max(0, n - span + 1) : n + 1]
        points.append(
            {"step": metrics[n]["step"], "loss": losses[n], "mean": sum(window) / len(window)}
        )
    return points
