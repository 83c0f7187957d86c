"""What a person or a clock launches: `dg launch --job rebuild`."""

import dagster as dg

rebuild = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.all(),
    description="The whole mixture, from upstream's files to the card, and the model that its "
    "manifest names; what is unchanged is kept.",
    executor_def=dg.in_process_executor,
    config={"loggers": {"brief": {}}},
)

curate = dg.define_asset_job(
    "curate",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("training", "mobile"),
    description="The mixture and its card alone: no model is trained on it, no torch is needed.",
    executor_def=dg.in_process_executor,
    config={"loggers": {"brief": {}}},
)

weekly = dg.ScheduleDefinition(
    name="weekly",
    job=rebuild,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Mondays at 3:00 UTC; off until someone switches it on.",
)
