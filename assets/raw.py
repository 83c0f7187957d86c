"""raw/<name>: what upstream publishes, on disk and verified; above it a drawn mixture's world."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.factory import Result, report, stage
from assets.tables import about, counted, size, table, tag
from imp_data.manifests.lockfile import held_to
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import inputs_checks
from imp_data.redaction import redacted
from imp_data.storage.stage_cache import StageResult


def raw_assets(build: Build) -> list[dg.AssetsDefinition]:
    """One for each name under which files are published."""
    return [_raw(build, name) for name in build.published]


def _raw(build: Build, name: str) -> dg.AssetsDefinition:
    manifests = build.published[name]

    @stage(
        build,
        *("raw", name),
        after=["world" if build.recipe.mixture.drawn else "inputs"],
        kinds=_kinds(file.path for m in manifests for file in m.files),
        description=about("Upstream's own files, their checksums verified.", *manifests),
        tags={"license": tag(manifests[0].license)},
    )
    def raw() -> Result:
        result = build.raw(name)
        files = _files(
            build.data.raw(name), result.figures["files"], held_to(manifests, build.locks)
        )
        summary = _summary(files) + _changes(result)
        return report(result, summary, {"files": table(files)}, path=build.data.raw(name))

    return raw


def inputs_assets(build: Build) -> list[dg.AssetsDefinition]:
    """What a mixture needs before anything is fetched; none where its world is drawn."""
    if build.recipe.mixture.drawn:
        return []
    checks = inputs_checks(build)

    @stage(
        build,
        "inputs",
        after=[],
        kinds={"python"},
        description="Places that the manifests name, files to download manually, and the network: "
        "looked for before anything is fetched.",
        checks=checks,
        group="raw",
    )
    def inputs() -> Result:
        result = build.inputs()
        return report(result, counted(result.figures["names"], "raw folder"), {}, checks)

    return [inputs]


def world_assets(build: Build) -> list[dg.AssetsDefinition]:
    """The world of a drawn mixture; none where files are fetched."""
    if not build.recipe.mixture.drawn:
        return []

    @stage(
        build,
        "world",
        after=[],
        kinds={"python"},
        description="A small world of images and records, drawn instead of fetched.",
        group="raw",
    )
    def world() -> Result:
        from demo import stage as demo

        result = demo.world(build)
        files = _files(build.data.raw(""), result.figures["files"], {})
        return report(result, _summary(files), {"files": table(files)}, path=build.data.raw(""))

    return [world]


def _changes(result: StageResult) -> str:
    """`; b.json is new, a.json changed since the last run`, of a folder that was looked at."""
    changes = result.figures["changes"] if result.built else {}
    told = ", ".join(f"{path} is {word}" for path, word in changes.items())
    return f"; since the last run {told}" if told else ""


def _files(
    folder: Path, digests: Mapping[str, str], held: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Path, size and sha256 of each file, and where it is stated what its sha256 must be."""
    return [
        {
            "file": path,
            "bytes": (folder / path).stat().st_size,
            "sha256": sha,
            "held to": redacted(held.get(path, "what was drawn")),
        }
        for path, sha in digests.items()
    ]


def _summary(files: list[dict[str, Any]]) -> str:
    return f"{counted(len(files), 'file')}, {size(sum(f['bytes'] for f in files))}"


def _kinds(paths: Iterable[str]) -> set[str]:
    """What the files are, by their endings: Dagster shows at most three kinds."""
    endings = {ending.removeprefix(".") for path in paths for ending in Path(path).suffixes}
    return set(sorted(endings & {"json", "jsonl", "parquet", "tar", "zip"})[:3]) or {"file"}
