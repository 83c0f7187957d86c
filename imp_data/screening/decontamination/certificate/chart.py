"""Draw recall by group, and recall and false matches against the threshold."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from imp_data.screening.decontamination.certificate.intervals import significant

# The colours of the two sets and of the five groups, distinguishable with any colour vision.
_SETS = ["#1b6ca8", "#d9730d"]
_GROUPS = ["#1b6ca8", "#d9730d", "#5b8c5a", "#8a5a9e", "#8c8c8c"]


def can_draw() -> bool:
    """Return whether the libraries of the chart are installed."""
    return bool(find_spec("altair") and find_spec("vl_convert"))


def chart_svg(figures: Mapping[str, Any]) -> str:
    """Return an SVG chart of a certificate's figures."""
    import altair as alt
    import vl_convert

    title = f"Matcher `{figures['matcher']}`, up to {figures['threshold']:g} {figures['unit']}"
    panels = alt.hconcat(_groups(figures), _recall_curve(figures), _false_curve(figures))
    chart = panels.resolve_scale(color="independent").properties(title=title)
    return str(vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).to_dict()))


def _groups(figures: Mapping[str, Any]) -> Any:
    """Show the recall of each group with its interval, and the goal as a line."""
    import altair as alt

    values = [
        {
            "set": name,
            "group": group,
            **{key: row[key] for key in ("recall", "low", "high", "goal")},
        }
        for name, one in figures["sets"].items()
        for group, row in one["groups"].items()
    ]
    sets = list(figures["sets"])
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("group:N", title="group of alterations", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("set:N", scale=alt.Scale(domain=sets)),
    )
    colour = alt.Color(
        "set:N", scale=alt.Scale(domain=sets, range=_SETS[: len(sets)]), title="images"
    )
    share = alt.Y("recall:Q", title="copies found", axis=alt.Axis(format="%"))
    bars = base.mark_bar().encode(y=share.scale(domain=[0, 1]), color=colour)
    whiskers = base.mark_rule(color="#222").encode(y="low:Q", y2="high:Q")
    goals = (
        alt.Chart(alt.Data(values=[value for value in values if value["goal"]]))
        .mark_tick(color="#222", thickness=2, size=34)
        .encode(x="group:N", y="goal:Q")
    )
    return (bars + whiskers + goals).properties(width=240, height=240)


def _recall_curve(figures: Mapping[str, Any]) -> Any:
    import altair as alt

    first = next(iter(figures["sets"]))
    values = [
        {"threshold": point["threshold"], "group": group, "recall": share}
        for point in figures["curve"]
        for group, share in point["recall"][first].items()
    ]
    lines = alt.Chart(alt.Data(values=values)).mark_line().encode(
        x=alt.X("threshold:Q", title=f"threshold, {figures['unit']}"),
        y=alt.Y("recall:Q", title=f"copies found, {first}", axis=alt.Axis(format="%")),
        color=alt.Color("group:N", scale=alt.Scale(range=_GROUPS), title="group"),
    )  # fmt: skip
    return (lines + _in_use(figures)).properties(width=240, height=240)


def _false_curve(figures: Mapping[str, Any]) -> Any:
    import altair as alt

    values = [
        {
            "threshold": point["threshold"],
            "rate": significant(1e6 * point["photo_false"] / max(point["photo_pairs"], 1)),
        }
        for point in figures["curve"]
    ]
    title = "false matches of photos per 10⁶ pairs"
    # Without a false match the values alone give the axis no extent.
    extent = [0, max(1, *(point["rate"] for point in values))]
    ticks = alt.Axis(values=[0, *(10**n for n in range(7))], format="~s")
    lines = alt.Chart(alt.Data(values=values)).mark_line(point=True, color=_SETS[1]).encode(
        x=alt.X("threshold:Q", title=f"threshold, {figures['unit']}"),
        y=alt.Y("rate:Q", title=title, axis=ticks, scale=alt.Scale(type="symlog", domain=extent)),
    )  # fmt: skip
    return (lines + _in_use(figures)).properties(width=240, height=240)


def _in_use(figures: Mapping[str, Any]) -> Any:
    import altair as alt

    values = [{"threshold": figures["threshold"]}]
    return alt.Chart(alt.Data(values=values)).mark_rule(strokeDash=[4, 3]).encode(x="threshold:Q")
