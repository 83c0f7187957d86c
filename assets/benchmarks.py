"""benchmarks/<name>: ids and fingerprints of images that must not be trained on."""

import dagster as dg

from assets.factory import Result, report, stage
from assets.tables import about, columns, counted, tag
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import benchmark_checks
from imp_data.screening.decontamination.benchmark_index import PACK_SCHEMA


def benchmark_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return one asset for each benchmark whose images the mixture removes."""
    return [_benchmark(build, name) for name in build.recipe.benchmarks]


def _benchmark(build: Build, name: str) -> dg.AssetsDefinition:
    manifest, checks = build.recipe.benchmarks[name], benchmark_checks(build, name)
    collections = () if build.deferred else manifest.images

    @stage(
        build,
        *("benchmarks", name),
        after={f"raw/{name}", *(f"raw/{images}" for images in collections)},
        kinds={"python", "parquet"},
        description=about("Ids and fingerprints of images not to be trained on.", manifest),
        tags={"license": tag(manifest.license)},
        checks=checks,
    )
    def benchmark() -> Result:
        result = build.benchmark(name)
        ids, seen = result.figures["ids"], result.figures["fingerprinted"]
        summary = f"{counted(ids, 'id')}, {counted(seen, 'image')} fingerprinted"
        metadata = {"images fingerprinted": seen, **columns(PACK_SCHEMA)}
        return report(result, summary, metadata, checks, rows=ids, path=build.data.benchmark(name))

    return benchmark
