"""neighbours: what the mixture says twice, as a report beside it."""

from typing import Any

import dagster as dg

from assets.factory import Result, report, stage
from assets.tables import bullets, table
from imp_data.mixture.duplicates.report import (
    Section,
    sections,
    stored_as,
    summary,
)
from imp_data.pipeline.build import Build
from imp_data.pipeline.duplicates_stage import write_neighbours

_ROWS_SHOWN = 20


def neighbours_assets(build: Build) -> list[dg.AssetsDefinition]:
    """The report; none where the mixture's policy is to ignore near-duplicates."""
    if not build.reports_neighbours:
        return []

    @stage(
        build,
        "neighbours",
        after=["mixture", *(f"images/{source}" for source in build.recipe.sources)],
        kinds={"python", "json", "markdown"},
        description="Images that look alike within the mixture, by cluster and by sources, and "
        "questions on one image that are answered in different ways. It tells, and takes nothing "
        "out.",
        group="mixture",
    )
    def neighbours() -> Result:
        result = write_neighbours(build)
        folder = build.data.reports(build.name)
        found = stored_as(folder, result.digest)
        told = {part.title: _shown(part) for part in sections(found) if part.rows}
        unknown = {"not checked": bullets(found["not_checked"])} if found["not_checked"] else {}
        return report(result, summary(found), {**unknown, **told}, path=folder)

    return [neighbours]


def _shown(part: Section) -> dg.TableMetadataValue:
    """The first rows: a metadata value should stay small."""
    rows: list[dict[str, Any]] = [
        dict(zip(part.header, row, strict=True)) for row in part.rows[:_ROWS_SHOWN]
    ]
    return table(rows)
