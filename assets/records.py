"""The records/<source> assets: upstream records as Samples, each one validated."""

from typing import Any

import dagster as dg

from assets.factory import Result, materialize_result, stage_asset
from assets.tables import column_schema, counts_table, describe_asset, reasons_table, tag_value
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import records_checks
from imp_data.sample import record_schema

_MAX_LOGGED_FIELDS = 8  # Dagster's page shows all


def records_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return one asset per source."""
    return [_records(build, source) for source in build.recipe.sources]


def _records(build: Build, source: str) -> dg.AssetsDefinition:
    manifest, checks = build.recipe.sources[source], records_checks(build, source)

    @stage_asset(
        build,
        *("records", source),
        after=[f"raw/{source}"],
        kinds={"python", "arrow"},
        description=describe_asset("Upstream records as Samples, each one validated.", manifest),
        tags={"license": tag_value(manifest.license), "layout": manifest.layout},
        checks=checks,
    )
    def records() -> Result:
        result = build.records(source)
        path, samples = build.data.records(source), result.figures["samples"]
        summary, metadata = _describe(result.figures)
        metadata |= column_schema(record_schema(manifest.max_images))
        return materialize_result(result, summary, metadata, checks, rows=samples, path=path)

    return records


def _describe(figures: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the summary line and the metadata of an asset's materialization."""
    dropped = sum(figures["dropped"].values())
    repaired = sum(figures["repaired"].values())
    summary = f"{figures['rows']:,} rows, {figures['samples']:,} samples, {dropped:,} dropped"
    summary += f", {repaired:,} repaired" if repaired else ""
    return summary + _list_unread_fields(figures), {
        "rows read": figures["rows"],
        "exact repeats": figures["exact_repeats"],
        **counts_table("subset", figures["subsets"], "samples"),
        **reasons_table("dropped, and why", figures["dropped"], "rows"),
        **reasons_table("repaired, and how", figures["repaired"], "rows"),
        **counts_table("field not read", figures["fields_passed_over"], "records kept"),
        **counts_table("field not read", figures["fields_unread"], "records dropped"),
    }


def _list_unread_fields(figures: dict[str, Any]) -> str:
    """List the unread fields, as the end of a source's log line."""
    ignored, unread = figures["fields_passed_over"], figures["fields_unread"]
    fields = [f"{name} ({count:,})" for name, count in ignored.items()]
    fields += [f"{name} ({count:,}, dropped)" for name, count in unread.items()]
    hidden = len(fields) - _MAX_LOGGED_FIELDS
    more = f" and {hidden} more" if hidden > 0 else ""
    shown = ", ".join(fields[:_MAX_LOGGED_FIELDS])
    return f"; fields not read: {shown}{more}" if fields else ""
