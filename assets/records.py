"""records/<source>: upstream records as Samples, each one validated."""

from typing import Any

import dagster as dg

from assets.factory import Result, report, stage
from assets.tables import about, columns, counts, reasons, tag
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import records_checks
from imp_data.sample import RECORD_SCHEMA

_SHOWN = 8  # fields in a line of the log; Dagster's page has all


def records_assets(build: Build) -> list[dg.AssetsDefinition]:
    """One for each source."""
    return [_records(build, source) for source in build.recipe.sources]


def _records(build: Build, source: str) -> dg.AssetsDefinition:
    manifest, checks = build.recipe.sources[source], records_checks(build, source)

    @stage(
        build,
        *("records", source),
        after=[f"raw/{source}"],
        kinds={"python", "arrow"},
        description=about("Upstream's records as Samples, each one validated.", manifest),
        tags={"license": tag(manifest.license), "layout": manifest.layout},
        checks=checks,
    )
    def records() -> Result:
        result = build.records(source)
        path, samples = build.data.records(source), result.figures["samples"]
        summary, told = _told(result.figures)
        return report(result, summary, told, checks, rows=samples, path=path)

    return records


def _told(figures: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    dropped = sum(figures["dropped"].values())
    repaired = sum(figures["repaired"].values())
    summary = f"{figures['rows']:,} rows, {figures['samples']:,} samples, {dropped:,} dropped"
    summary += f", {repaired:,} repaired" if repaired else ""
    return summary + _fields(figures), {
        "rows read": figures["rows"],
        "exact repeats": figures["exact_repeats"],
        **counts("subset", figures["subsets"], "samples"),
        **reasons("dropped, and why", figures["dropped"], "rows"),
        **reasons("repaired, and how", figures["repaired"], "rows"),
        **counts("field that was not read", figures["fields_passed_over"], "records kept"),
        **counts("field that was not read", figures["fields_unread"], "records dropped"),
        **columns(RECORD_SCHEMA),
    }


def _fields(figures: dict[str, Any]) -> str:
    """The fields that were not read, as the end of the line that the log has on a source."""
    passed, unread = figures["fields_passed_over"], figures["fields_unread"]
    told = [f"{name} ({count:,})" for name, count in passed.items()]
    told += [f"{name} ({count:,}, dropped)" for name, count in unread.items()]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"; fields not read: {', '.join(told[:_SHOWN])}{more}" if told else ""
