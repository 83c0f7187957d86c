"""Plot the loss curve of a run as SVG and as interactive HTML, from one specification."""

from pathlib import Path
from typing import Any

from imp_data.storage.atomic_write import write_text
from imp_data.training.loop.reporting import read_metrics

_POINTS = 2000
_BLUE, _GREY = "#1f6feb", "#6e7781"


def plot_loss(folder: Path, title: str) -> list[Path]:
    """Write loss.svg and loss.html from metrics.jsonl: loss, running mean, and learning rate."""
    import altair as alt
    import vl_convert

    points = _downsample(read_metrics(folder))
    x = alt.X("step:Q", title="step", scale=alt.Scale(nice=False))
    tooltip = [alt.Tooltip("step:Q"), *(_tooltip(alt, n) for n in ("loss", "mean", "rate"))]
    base = alt.Chart(alt.Data(values=points)).encode(x=x, tooltip=tooltip)
    y = alt.Y("loss:Q", title="loss")
    steps = base.mark_line(opacity=0.35, color=_BLUE).encode(y=y)
    mean = base.mark_line(color=_BLUE, strokeWidth=2).encode(y=alt.Y("mean:Q", title="loss"))
    scale = alt.Axis(format=".1e", tickCount=3)
    rate = base.mark_line(color=_GREY).encode(y=alt.Y("rate:Q", title="rate", axis=scale))
    chart = alt.vconcat(
        (steps + mean).properties(width=640, height=300), rate.properties(width=640, height=60)
    ).properties(title=title)
    spec = chart.to_json()
    svg, page = folder / "loss.svg", folder / "loss.html"
    write_text(svg, vl_convert.vegalite_to_svg(spec))
    write_text(page, vl_convert.vegalite_to_html(spec, bundle=True))
    return [svg, page]


def _tooltip(alt: Any, name: str) -> Any:
    return alt.Tooltip(f"{name}:Q", format=".3~g")


def _downsample(metrics: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Downsample to about _POINTS points, each with the mean loss of the 2 % of steps around it."""
    reach = len(metrics) // 100
    points, losses = [], [line["loss"] for line in metrics]
    for n in range(0, len(metrics), max(1, len(metrics) // _POINTS)):
        around = losses[max(0, n - reach) : n + reach + 1]
        step, rate = metrics[n]["step"], metrics[n]["learning_rate"]
        mean = sum(around) / len(around)
        points.append({"step": step, "loss": losses[n], "mean": mean, "rate": rate})
    return points
