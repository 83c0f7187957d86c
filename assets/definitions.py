"""The graph of one mixture, IMP_MIXTURE (the demo's if unset): what `dg list defs` shows."""

import os
from pathlib import Path

import dagster as dg
from click import ClickException

from assets.benchmarks import benchmark_assets
from assets.card import card_asset
from assets.console import brief
from assets.duplicates import neighbours_assets
from assets.images import images_assets
from assets.jobs import jobs, weekly
from assets.mixture import mixture_asset
from assets.mobile import mobile_assets
from assets.raw import inputs_assets, raw_assets, world_assets
from assets.records import records_assets
from assets.screened import screened_assets
from assets.training import training_assets
from imp_data.errors import UserError
from imp_data.pipeline.build import Build
from imp_data.pipeline.environment import check_settings
from imp_data.redaction import guard_logs
from imp_data.storage.paths import at_home

ROOT = Path(__file__).resolve().parents[1]
DEMO = "manifests/mixtures/demo.yaml"


def graph(build: Build) -> dg.Definitions:
    """One asset per source and stage, made from the manifests."""
    return dg.Definitions(
        assets=[
            *world_assets(build),
            *inputs_assets(build),
            *raw_assets(build),
            *records_assets(build),
            *benchmark_assets(build),
            *images_assets(build),
            *screened_assets(build),
            mixture_asset(build),
            *neighbours_assets(build),
            card_asset(build),
            *training_assets(build),
            *mobile_assets(build),
        ],
        jobs=jobs(build),
        schedules=[weekly(build)],
        loggers={"brief": brief},
        # Steps do their heavy work in worker processes of their own; one more a step costs 2 s.
        executor=dg.in_process_executor,
    )


def named_mixture() -> Build:
    """The build that IMP_MIXTURE names, its path taken from the repository's root."""
    build = Build.of(ROOT / at_home(os.environ.get("IMP_MIXTURE", "").strip() or DEMO))
    check_settings(build.recipe.mixture)
    return build


def named_graph() -> dg.Definitions:
    """Its graph; the manifest of the model that it names is read here too."""
    try:
        return graph(named_mixture())
    except UserError as error:
        # `dg` prints a click error as its message alone; a server shows it as any other.
        raise ClickException(str(error)) from None


guard_logs()
defs = named_graph()
