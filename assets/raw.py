"""raw/<name>: upstream's files, downloaded and verified; `inputs` or `world` above them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.factory import (
    Result,
    asset_key,
    materialize_result,
    selected_assets,
    stage_asset,
)
from assets.tables import count_noun, describe_asset, format_bytes, table, tag_value
from imp_data.manifests.lockfile import checksum_origins
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import inputs_checks
from imp_data.redaction import redact
from imp_data.storage.stage_cache import StageResult


def raw_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return one asset for each name under which files are published."""
    # The largest last, and after all stages that could run meanwhile: these have priority 0.
    priorities = {name: -number for number, name in enumerate(build.raw_order(), 1)}
    return [_raw(build, name, priorities[name]) for name in build.published]


def _raw(build: Build, name: str, priority: int) -> dg.AssetsDefinition:
    manifests = build.published[name]

    @stage_asset(
        build,
        *("raw", name),
        after=["world" if build.recipe.mixture.drawn else "inputs"],
        kinds=_kinds(file.path for m in manifests for file in m.files),
        description=describe_asset("Upstream's files, their checksums verified.", *manifests),
        tags={"license": tag_value(manifests[0].license)},
        priority=priority,
    )
    def raw() -> Result:
        run, selected = selected_assets()
        names = [n for n in build.published if asset_key(build, f"raw/{n}") in selected]
        build.start_raw(names, run)
        result = build.raw(name)
        files = _files(
            build.data.raw(name), result.figures["files"], checksum_origins(manifests, build.locks)
        )
        summary = _summary(files) + _url_results(result) + _changes(result)
        return materialize_result(
            result, summary, {"files": table(files)}, path=build.data.raw(name)
        )

    return raw


def inputs_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return the asset that checks inputs before any download; none if the world is drawn."""
    if build.recipe.mixture.drawn:
        return []
    checks = inputs_checks(build)

    @stage_asset(
        build,
        "inputs",
        after=[],
        kinds={"python"},
        description="Paths that the manifests name, files to download manually, and the network, "
        "checked before any download.",
        checks=checks,
        group="raw",
    )
    def inputs() -> Result:
        result = build.inputs()
        return materialize_result(
            result, count_noun(result.figures["names"], "raw folder"), {}, checks
        )

    return [inputs]


def world_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return the asset of a drawn mixture's world; none if files are downloaded."""
    if not build.recipe.mixture.drawn:
        return []

    @stage_asset(
        build,
        "world",
        after=[],
        kinds={"python"},
        description="A small world of images and records, drawn instead of downloaded.",
        group="raw",
    )
    def world() -> Result:
        from demo import stage as demo

        result = demo.world(build)
        files = _files(build.data.raw(""), result.figures["files"], {})
        return materialize_result(
            result, _summary(files), {"files": table(files)}, path=build.data.raw("")
        )

    return [world]


def _changes(result: StageResult) -> str:
    """Return `; since the last run b.json is new, a.json is changed`, or nothing."""
    changes = result.figures["changes"] if result.built else {}
    words = ", ".join(f"{path} is {word}" for path, word in changes.items())
    return f"; since the last run {words}" if words else ""


def _url_results(result: StageResult) -> str:
    """Return `; of the URLs of images 20 gone, 400 ok`, or nothing."""
    counts = ", ".join(f"{n:,} {one}" for one, n in result.figures.get("urls", {}).items())
    return f"; of the URLs of images {counts}" if counts else ""


def _files(
    folder: Path, digests: Mapping[str, str], pinned_by: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return path, size and sha256 of each file, and the file that pins its sha256."""
    return [
        {
            "file": path,
            "bytes": (folder / path).stat().st_size,
            "sha256": sha,
            "pinned by": redact(pinned_by.get(path, "the drawn world")),
        }
        for path, sha in digests.items()
    ]


def _summary(files: list[dict[str, Any]]) -> str:
    return f"{count_noun(len(files), 'file')}, {format_bytes(sum(f['bytes'] for f in files))}"


def _kinds(paths: Iterable[str]) -> set[str]:
    """Return the kinds of files by their suffixes, at most the three that Dagster shows."""
    endings = {ending.removeprefix(".") for path in paths for ending in Path(path).suffixes}
    return set(sorted(endings & {"json", "jsonl", "parquet", "tar", "zip"})[:3]) or {"file"}
