"""Lay the figures of a certificate out as tables, for the terminal and for Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from imp_data.screening.decontamination.certificate.alterations import GROUPS


class Table(NamedTuple):
    """A table with its title; the first column is text."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def percent(share: float | None) -> str:
    """Return 99.97, 100 or 0: never 100.0 for a share below 1."""
    if share is None:
        return "–"
    if share in (0, 1):
        return f"{100 * share:.0f}"
    return f"{min(max(100 * share, 0.01), 99.99):.{1 if 0.1 <= share < 0.9995 else 2}f}"


def interval(low: float, high: float) -> str:
    return f"{percent(low)}–{percent(high)}"


def summary_tables(figures: Mapping[str, Any]) -> Iterator[Table]:
    """Yield recall by group for each set of images, and false matches by kind of pair."""
    for name, one in figures["sets"].items():
        rows = [
            (
                f"{group}: {row['title']}",
                percent(row["recall"]),
                interval(row["low"], row["high"]),
                f"{row['complete']:,} of {one['images']:,}",
                percent(row["goal"]) if row["goal"] else "",
            )
            for group, row in one["groups"].items()
        ]
        title = f"Altered copies found, %: {one['images']:,} {name} images"
        header = ("group of alterations", "found", "95 %", "images with all found", "goal")
        yield Table(title, header, rows)
    yield _false_matches(figures)


def _false_matches(figures: Mapping[str, Any]) -> Table:
    rows = [
        (
            f"{row['pairs_of']}{', one altered' if row['altered'] else ''}",
            f"{row['pairs']:,}",
            f"{row['false']:,}",
            f"{row['per_million']:,g}",
            f"{row['upper_per_million']:,g}",
        )
        for row in figures["false_matches"]
    ]
    header = ("pairs of different", "pairs", "match", "per 10⁶", "at most (95 %)")
    return Table("False matches", header, rows)


def alteration_table(figures: Mapping[str, Any]) -> Table:
    """Return the recall of each alteration, with a column for each set of images."""
    sets = figures["sets"]
    rows = []
    for group in GROUPS:
        for name, first in next(iter(sets.values()))["alterations"].items():
            if first["group"] == group:
                cells = (one["alterations"][name] for one in sets.values())
                shares = (
                    f"{percent(cell['recall'])} ({interval(cell['low'], cell['high'])})"
                    for cell in cells
                )
                rows.append((name, group, *shares))
    header = ("alteration", "group", *(f"{name}, % (95 %)" for name in sets))
    return Table("Altered copies found, by alteration", header, rows)


def curve_table(figures: Mapping[str, Any]) -> Table:
    """Return recall by group and false matches of photos for each threshold."""
    sets = list(figures["sets"])
    rows = [
        (
            f"{point['threshold']:g}",
            *(percent(point["recall"][name][group]) for name in sets for group in GROUPS),
            f"{point['photo_false']:,} of {point['photo_pairs']:,}",
        )
        for point in figures["curve"]
    ]
    columns = (f"{name} {group}" for name in sets for group in GROUPS)
    header = (f"up to, {figures['unit']}", *columns, "pairs of photos that match")
    return Table("By threshold: copies found, %", header, rows)
