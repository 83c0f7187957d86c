"""Every stage of a build in order, without Dagster: for scripts, benchmarks and tests."""

from collections.abc import Callable, Iterator
from functools import partial

from imp_data.card import write_card
from imp_data.inputs import check_inputs
from imp_data.pipeline import Build
from imp_data.reports import write_neighbours
from imp_data.store import StageResult


def stages(build: Build) -> Iterator[tuple[str, Callable[[], StageResult]]]:
    """(asset, the call that runs its stage), each after all it depends on."""
    recipe = build.recipe
    if recipe.mixture.drawn:
        from imp_data.demo.stage import world

        yield "world", partial(world, build)
    for name in build.published:
        yield f"raw/{name}", partial(build.raw, name)
    for source in recipe.sources:
        yield f"records/{source}", partial(build.records, source)
    for name in recipe.benchmarks:
        yield f"benchmarks/{name}", partial(build.benchmark, name)
    for source in recipe.sources:
        yield f"images/{source}", partial(build.images, source)
        yield f"screened/{source}", partial(build.screened, source)
    yield "mixture", build.mixture
    if build.reports_neighbours:
        yield "neighbours", partial(write_neighbours, build)
    yield "card", partial(write_card, build)


def rebuild(build: Build) -> dict[str, StageResult]:
    """Run every stage; returns the results by asset. Raises UserError as `check_inputs` does."""
    check_inputs(build)
    return {asset: run() for asset, run in stages(build)}
