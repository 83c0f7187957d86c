"""records/<source>: upstream records as Samples, each one validated."""

from typing import Any

import dagster as dg

from assets.factory import Result, report, stage
from assets.tables import about, columns, counts, reasons, tag
from imp_data.checks import records_checks
from imp_data.pipeline import Build
from imp_data.sample import RECORD_SCHEMA


def records_assets(build: Build) -> list[dg.AssetsDefinition]:
    """One for each source."""
    return [_records(build, source) for source in build.recipe.sources]


def _records(build: Build, source: str) -> dg.AssetsDefinition:
    manifest, checks = build.recipe.sources[source], records_checks(build, source)

    @stage(
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
    return summary + (f", {repaired:,} repaired" if repaired else ""), {
        "rows read": figures["rows"],
        "exact repeats": figures["exact_repeats"],
        **counts("subset", figures["subsets"], "samples"),
        **reasons("dropped, and why", figures["dropped"], "rows"),
        **reasons("repaired, and how", figures["repaired"], "rows"),
        **columns(RECORD_SCHEMA),
    }
