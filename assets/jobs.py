"""What a person or a clock launches: `dg launch --job rebuild`."""

import dagster as dg

rebuild = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.all(),
    description="The whole mixture, from upstream's files to the card; what is unchanged is kept.",
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
