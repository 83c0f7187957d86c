"""The jobs and the schedule: `dg launch --job rebuild`."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from imp_data.pipeline.build import Build

# The tag of a run that names its mixture; the UI filters runs by it.
MIXTURE = "mixture"


def jobs(build: Build) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs, the same for every mixture; the tag of a run names the mixture."""
    title = build.recipe.mixture.title
    return [
        _job(
            build,
            "rebuild",
            dg.AssetSelection.all(),
            f"**{title}** from upstream's files to the card, and the model that its manifest "
            "names; unchanged assets are not rebuilt.",
        ),
        _job(
            build,
            "curate",
            dg.AssetSelection.all() - dg.AssetSelection.groups("training", "mobile"),
            f"**{title}** and its card, without a model; torch is not needed.",
        ),
    ]


def _job(
    build: Build, name: str, selection: dg.AssetSelection, description: str
) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        selection=selection,
        description=description,
        tags={MIXTURE: build.name},
        executor_def=dg.in_process_executor,
        config={"loggers": {"brief": {}}},
    )


def weekly(build: Build) -> dg.ScheduleDefinition:
    """Return the schedule, named after the mixture: Dagster stores its status by that name."""
    return dg.ScheduleDefinition(
        name=f"weekly_{build.name}",
        job_name="rebuild",
        cron_schedule="0 3 * * 1",
        execution_timezone="UTC",
        tags={MIXTURE: build.name},
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Mondays at 3:00 UTC; stopped until someone starts it.",
    )
