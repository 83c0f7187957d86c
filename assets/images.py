"""images/<source>: fingerprints of the images that the draw reaches, and of no others."""

import dagster as dg

from assets.factory import Result, report, stage
from assets.tables import columns, counted, counts
from imp_data.pipeline.build import Build
from imp_data.screening.image_decisions import DECIDED_SCHEMA


def images_assets(build: Build) -> list[dg.AssetsDefinition]:
    """One for each source."""
    return [_images(build, source) for source in build.recipe.sources]


def _images(build: Build, source: str) -> dg.AssetsDefinition:
    collections = () if build.deferred else build.recipe.sources[source].images
    benchmarks = [f"benchmarks/{name}" for name in build.recipe.benchmarks]

    @stage(
        build,
        *("images", source),
        after=[f"records/{source}", *benchmarks, *(f"raw/{name}" for name in collections)],
        kinds={"python", "parquet"},
        description="One row an image that the draw reaches: status, size, sha256, hashes.",
    )
    def images() -> Result:
        result = build.images(source)
        count, statuses = result.figures["images"], result.figures["statuses"]
        told = {**counts("status", statuses, "images"), **columns(DECIDED_SCHEMA)}
        summary = "images deferred" if build.deferred else _summary(count, statuses)
        return report(
            result, summary, told, rows=count, path=build.data.fingerprints(build.name, source)
        )

    return images


def _summary(count: int, statuses: dict[str, int]) -> str:
    broken = [f"{n:,} {status}" for status, n in statuses.items() if status != "ok"]
    return ", ".join([counted(count, "image"), *broken])
