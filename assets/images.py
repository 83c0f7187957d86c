"""images/<source>: fingerprints and decisions of the images that sampling reaches."""

import dagster as dg

from assets.factory import Result, materialize_result, stage_asset
from assets.tables import column_schema, count_noun, counts_table
from imp_data.pipeline.build import Build
from imp_data.screening.image_decisions import DECIDED_SCHEMA


def images_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return one asset for each source."""
    return [_images(build, source) for source in build.recipe.sources]


def _images(build: Build, source: str) -> dg.AssetsDefinition:
    collections = () if build.deferred else build.recipe.sources[source].images
    benchmarks = [f"benchmarks/{name}" for name in build.recipe.benchmarks]

    @stage_asset(
        build,
        *("images", source),
        after=[f"records/{source}", *benchmarks, *(f"raw/{name}" for name in collections)],
        kinds={"python", "parquet"},
        description="One row per sampled image: status, sha256, hashes, decision.",
    )
    def images() -> Result:
        result = build.images(source)
        count, statuses = result.figures["images"], result.figures["statuses"]
        metadata = {**counts_table("status", statuses, "images"), **column_schema(DECIDED_SCHEMA)}
        summary = "images deferred" if build.deferred else _summary(count, statuses)
        return materialize_result(
            result, summary, metadata, rows=count, path=build.data.fingerprints(build.name, source)
        )

    return images


def _summary(count: int, statuses: dict[str, int]) -> str:
    broken = [f"{n:,} {status}" for status, n in statuses.items() if status != "ok"]
    return ", ".join([count_noun(count, "image"), *broken])
