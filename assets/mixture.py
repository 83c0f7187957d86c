"""mixture: the sampled records in shuffled Arrow shards, with ledger and manifest."""

from typing import Any

import dagster as dg

from assets.factory import Result, materialize_result, stage_asset
from assets.tables import column_schema, count_noun, table
from imp_data.ledger import Outcome
from imp_data.manifests.quotas import format_quota
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import mixture_checks
from imp_data.pipeline.mixture_facts import max_images
from imp_data.sample import sample_schema


def mixture_asset(build: Build) -> dg.AssetsDefinition:
    """Return the asset of the folder that datasets.load_from_disk opens."""
    recipe, checks = build.recipe.mixture, mixture_checks(build)
    folder = build.data.mixture(recipe.name)

    @stage_asset(
        build,
        "mixture",
        after=[f"{box}/{p.source}" for p in recipe.parts for box in ("records", "screened")],
        kinds={"python", "arrow", "huggingface"},
        description=f"**{recipe.title}** ({recipe.paper or 'no paper'}): Arrow shards that "
        "`datasets.load_from_disk` opens, with `ledger.parquet` and `mixture.json`.",
        checks=checks,
    )
    def mixture() -> Result:
        result = build.mixture()
        schema = sample_schema(max_images(build.recipe))
        rows, parts = result.figures["rows"], result.figures["parts"]
        metadata = {"parts": table(_parts(parts)), **column_schema(schema)}
        summary = f"{count_noun(rows, 'row')} from {count_noun(len(parts), 'source')}"
        return materialize_result(result, summary, metadata, checks, rows=rows, path=folder)

    return mixture


def _parts(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return by part: the paper's figure if there is one, quota, Samples, and outcomes of rows."""
    stated = [name for name in ("paper", "quota", "samples") if parts[0].get(name) is not None]
    numbered = all(isinstance(part["quota"], int) for part in parts)
    rows = [
        {
            "part": part["source"],
            **{name: part[name] or 0 for name in stated},
            "quota": part["quota"] if numbered else format_quota(part["quota"]),
            "rows read": part["rows_read"],
            **{o.value: part["outcomes"].get(o, 0) for o in Outcome},
        }
        for part in parts
    ]
    # Quotas such as `all` have no sum, but a table has all columns in each row.
    total = {
        name: sum(row[name] for row in rows) if numbered or name != "quota" else ""
        for name in rows[0]
        if name != "part"
    }
    return [*rows, {"part": "total", **total}]
