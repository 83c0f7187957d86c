"""duplicates: the report on a mixture's near-duplicate images and conflicting answers."""

from typing import Any

import dagster as dg

from assets.factory import Result, materialize_result, stage_asset
from assets.tables import bullets, table
from imp_data.mixture.duplicates.report import (
    Section,
    read_checked_report,
    report_sections,
    report_summary,
)
from imp_data.pipeline.build import Build
from imp_data.pipeline.duplicates_stage import write_duplicates_report

_MAX_ROWS = 20


def duplicates_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return the report's asset; none where the mixture's policy is to ignore near-duplicates."""
    if not build.reports_duplicates:
        return []

    @stage_asset(
        build,
        "duplicates",
        after=["mixture", *(f"images/{source}" for source in build.recipe.sources)],
        kinds={"python", "json", "markdown"},
        description="Near-duplicate images within the mixture, by cluster and by source, and "
        "questions on one image with conflicting answers. The report removes nothing.",
        group="mixture",
    )
    def duplicates() -> Result:
        result = write_duplicates_report(build)
        folder = build.data.reports(build.name)
        found = read_checked_report(folder, result.digest)
        tables = {part.title: _first_rows(part) for part in report_sections(found) if part.rows}
        unknown = {"not checked": bullets(found["not_checked"])} if found["not_checked"] else {}
        return materialize_result(result, report_summary(found), {**unknown, **tables}, path=folder)

    return [duplicates]


def _first_rows(part: Section) -> dg.TableMetadataValue:
    """Return a table of the first rows: a metadata value should stay small."""
    rows: list[dict[str, Any]] = [
        dict(zip(part.header, row, strict=True)) for row in part.rows[:_MAX_ROWS]
    ]
    return table(rows)
