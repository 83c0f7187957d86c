"""Run every stage of a build in order, without Dagster: for scripts, benchmarks and tests."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from imp_data.errors import UserError
from imp_data.pipeline.build import Build
from imp_data.pipeline.card_stage import write_card
from imp_data.pipeline.duplicates_stage import write_duplicates_report
from imp_data.pipeline.required_inputs import check_inputs
from imp_data.storage.stage_cache import StageResult


def stages(build: Build) -> Iterator[tuple[str, Callable[[], StageResult]]]:
    """Yield (asset, call that runs its stage), each after its dependencies."""
    recipe = build.recipe
    if recipe.mixture.drawn:
        yield "world", partial(_import_demo_stage(build).world, build)
    for name in build.raw_order():
        yield f"raw/{name}", partial(build.raw, name)
        # The records of a source do not wait for larger files.
        if name in recipe.sources:
            yield f"records/{name}", partial(build.records, name)
    for name in recipe.benchmarks:
        yield f"benchmarks/{name}", partial(build.benchmark, name)
    for source in recipe.sources:
        yield f"images/{source}", partial(build.images, source)
        yield f"screened/{source}", partial(build.screened, source)
    yield "mixture", build.mixture
    if build.reports_duplicates:
        yield "duplicates", partial(write_duplicates_report, build)
    yield "card", partial(write_card, build)


def _import_demo_stage(build: Build) -> Any:
    """Import the module that draws the demo's files; it is in the checkout, not in the wheel."""
    try:
        return import_module("demo.stage")
    except ModuleNotFoundError as error:
        raise UserError(
            f"mixture {build.name}",
            "`drawn: true` needs the folder demo, which is not installed",
            "run it in a checkout of the project, as `make demo` does",
        ) from error


def rebuild(build: Build) -> dict[str, StageResult]:
    """Run every stage; return the results by asset. Raise UserError as `check_inputs` does."""
    check_inputs(build)
    build.start_raw(build.published)
    try:
        return {asset: run() for asset, run in stages(build)}
    finally:
        build.stop_raw()
