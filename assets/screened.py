"""screened/<source>: which Samples pass, which are dropped and why, which the quota holds."""

from typing import Any

import dagster as dg

from assets.factory import Result, materialize_result, stage_asset
from assets.tables import column_schema, counts_table, reasons_table
from imp_data.manifests.quotas import format_quota
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import screened_checks
from imp_data.sample import image_column, record_schema
from imp_data.screening.quota_sampling import screened_schema

_IMAGE_COUNTS = {"images": "images in samples", "with_several": "samples with several images"}


def screened_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return one asset for each source."""
    return [_screened(build, source) for source in build.recipe.sources]


def _screened(build: Build, source: str) -> dg.AssetsDefinition:
    checks = screened_checks(build, source)
    benchmarks = [f"benchmarks/{name}" for name in build.recipe.benchmarks]

    @stage_asset(
        build,
        *("screened", source),
        after=[f"records/{source}", f"images/{source}", *benchmarks],
        kinds={"python", "arrow"},
        description=_description(build, source),
        checks=checks,
    )
    def screened() -> Result:
        result = build.screened(source)
        path, passed = build.data.screened(build.name, source), result.figures["passed"]
        summary, metadata = _summary_and_metadata(result.figures)
        schema = record_schema(build.recipe.sources[source].max_images)
        metadata |= column_schema(screened_schema(image_column(schema.names)))
        return materialize_result(result, summary, metadata, checks, rows=passed, path=path)

    return screened


def _description(build: Build, source: str) -> str:
    """Describe the rules that apply to the source."""
    recipe = build.recipe
    lines = [
        f"- {e.name} is excluded: {e.because}"
        for e in recipe.mixture.kind_exclusions
        if e.source == source
    ]
    lines += [f"- {rule.name} is excluded: {rule.because}" for rule in recipe.rules(source)]
    lines += [
        f"- Images of {recipe.benchmarks[d.benchmark].title} are removed: by id, by bytes, and by "
        f"perceptual hash within {d.max_distance_bits} bits."
        for d in recipe.mixture.decontaminate
    ]
    policy = recipe.mixture.near_duplicates
    if policy.policy == "drop":
        lines.append(
            "- Near-duplicates of a kept image are dropped: perceptual hashes within "
            f"{policy.max_distance_bits} bits."
        )
    lines.append(f"- The quota is {format_quota(recipe.mixture.stated_quota(source))}.")
    return "\n".join(
        ["Which Samples pass, which are dropped and why, which are held back.\n", *lines]
    )


def _summary_and_metadata(figures: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    dropped = sum(figures["dropped"].values())
    held = figures["held"]
    excluded = {name: signs["records"] for name, signs in figures["excluded"].items()}
    excluded |= figures["matched"]
    return f"{figures['passed']:,} passed, {dropped:,} dropped, {held:,} held", {
        "held": held,
        "dropped": dropped,
        # Counts of a source whose records may have several images.
        **{text: figures[name] for name, text in _IMAGE_COUNTS.items() if name in figures},
        **counts_table("exclusion", excluded, "records"),
        **counts_table("subset", figures["subsets"], "samples"),
        **reasons_table("dropped, and why", figures["dropped"], "samples"),
    }
