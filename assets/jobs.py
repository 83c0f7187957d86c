"""What a person or a clock launches: `dg launch --job rebuild`."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from imp_data.pipeline.build import Build

# A run's tag: the mixture that it builds, by which the UI lists the runs of one.
MIXTURE = "mixture"


def jobs(build: Build) -> list[UnresolvedAssetJobDefinition]:
    """Of every mixture there are the same; a run's tag says of which it was."""
    title = build.recipe.mixture.title
    return [
        _job(
            build,
            "rebuild",
            dg.AssetSelection.all(),
            f"**{title}** as a whole, from upstream's files to the card, and the model that its "
            "manifest names; what is unchanged is kept.",
        ),
        _job(
            build,
            "curate",
            dg.AssetSelection.all() - dg.AssetSelection.groups("training", "mobile"),
            f"**{title}** and its card alone: no model is trained on it, no torch is needed.",
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
    """Named after the mixture: Dagster keeps by that name whether it was switched on."""
    return dg.ScheduleDefinition(
        name=f"weekly_{build.name}",
        job_name="rebuild",
        cron_schedule="0 3 * * 1",
        execution_timezone="UTC",
        tags={MIXTURE: build.name},
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Mondays at 3:00 UTC; off until someone switches it on.",
    )
