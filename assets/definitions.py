"""The graph of one mixture, IMP_MIXTURE (default: the demo's); `dg list defs` shows it."""

import os
from pathlib import Path

import dagster as dg
from click import ClickException

from assets.benchmarks import benchmark_assets
from assets.card import card_asset
from assets.console import brief
from assets.duplicates import duplicates_assets
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
from imp_data.pipeline.environment import check_environment
from imp_data.redaction import redact_logs
from imp_data.storage.paths import expand_user

ROOT = Path(__file__).resolve().parents[1]
DEMO = "manifests/mixtures/demo.yaml"


def graph(build: Build) -> dg.Definitions:
    """Return the graph: one asset for each source and stage of the manifests."""
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
            *duplicates_assets(build),
            card_asset(build),
            *training_assets(build),
            *mobile_assets(build),
        ],
        jobs=jobs(build),
        schedules=[weekly(build)],
        loggers={"brief": brief},
        # Stages start worker processes for heavy work; a process for each step would cost 2 s more.
        executor=dg.in_process_executor,
    )


def named_mixture() -> Build:
    """Return the build of IMP_MIXTURE, a path relative to the repository's root."""
    build = Build.of(ROOT / expand_user(os.environ.get("IMP_MIXTURE", "").strip() or DEMO))
    check_environment(build.recipe.mixture)
    return build


def named_graph() -> dg.Definitions:
    """Return the graph of IMP_MIXTURE; this also reads the manifest of its model."""
    try:
        return graph(named_mixture())
    except UserError as error:
        # `dg` prints only the message of a click error; a server shows it like any other.
        raise ClickException(str(error)) from None


redact_logs()
defs = named_graph()
