"""benchmarks/<name>: ids and fingerprints of images that must not be trained on."""

import dagster as dg

from assets.factory import Result, materialize_result, stage_asset
from assets.tables import column_schema, count_noun, describe_asset, tag_value
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import benchmark_checks
from imp_data.screening.decontamination.packs import PACK_SCHEMA


def benchmark_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return one asset for each benchmark whose images the mixture removes."""
    return [_benchmark(build, name) for name in build.recipe.benchmarks]


def _benchmark(build: Build, name: str) -> dg.AssetsDefinition:
    manifest, checks = build.recipe.benchmarks[name], benchmark_checks(build, name)
    collections = () if build.deferred else manifest.images

    @stage_asset(
        build,
        *("benchmarks", name),
        after={f"raw/{name}", *(f"raw/{images}" for images in collections)},
        kinds={"python", "parquet"},
        description=describe_asset(
            "Ids and fingerprints of images not to be trained on.", manifest
        ),
        tags={"license": tag_value(manifest.license)},
        checks=checks,
    )
    def benchmark() -> Result:
        result = build.benchmark(name)
        ids, seen = result.figures["ids"], result.figures["fingerprinted"]
        summary = f"{count_noun(ids, 'id')}, {count_noun(seen, 'image')} fingerprinted"
        metadata = {"images fingerprinted": seen, **column_schema(PACK_SCHEMA)}
        if questions := result.figures.get("questions"):
            summary += f", {count_noun(questions['questions'], 'question')}"
            metadata["questions"] = questions["questions"]
        return materialize_result(
            result, summary, metadata, checks, rows=ids, path=build.data.benchmark(name)
        )

    return benchmark
