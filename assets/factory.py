"""Common to all assets: declaration, materialization result, and failure."""

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.jobs import MIXTURE
from assets.tables import bullets, table
from imp_data.errors import UserError
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import Check
from imp_data.pipeline.stages import stage_code_version
from imp_data.redaction import redact
from imp_data.storage.stage_cache import StageResult

Result = dg.MaterializeResult[Any]
Compute = Callable[[], Result]
# Assets that all mixtures of a data directory share.
SHARED = {"inputs", "raw", "world"}


def asset_key(build: Build, asset: str) -> dg.AssetKey:
    """Return the Dagster key of an asset from its name in the data directory ("raw/dvqa").

    The key begins with the asset's mixture. All mixtures of a data directory share raw files; drawn
    files have another directory than downloaded ones.
    """
    kind, *rest = asset.split("/")
    if kind in SHARED:
        return dg.AssetKey([*(["drawn"] if build.recipe.mixture.drawn else []), kind, *rest])
    if kind == "mixtures":
        return dg.AssetKey([*rest, "mixture"])
    return dg.AssetKey([build.name, kind, *rest])


def stage_asset(
    build: Build,
    *name: str,
    after: Collection[str],
    kinds: set[str],
    description: str,
    tags: Mapping[str, str] | None = None,
    checks: Sequence[Check] = (),
    group: str | None = None,
    code: str | None = None,
    priority: int = 0,
) -> Callable[[Compute], dg.AssetsDefinition]:
    """Declare an asset that depends on the assets `after` ("raw/dvqa").

    The first part of `name` is the kind of its stage: by default also its group, and the key of its
    code version. `group` and `code` (a digest) replace them. Of assets that could run, the one with
    the highest `priority` runs first.
    """
    kind, key = name[0], asset_key(build, "/".join(name))
    mixture = {} if kind in SHARED else {MIXTURE: key.path[0]}

    def declare(compute: Compute) -> dg.AssetsDefinition:
        return dg.asset(
            key=key,
            deps=[asset_key(build, other) for other in after],
            group_name=group or kind,
            kinds=kinds,
            owners=["team:data"],
            tags={**(tags or {}), **mixture},
            description=description,
            code_version=code or stage_code_version(kind),
            check_specs=_specs(key, checks),
            op_tags={"dagster/priority": str(priority)} if priority else None,
        )(_without_traceback(compute))

    return declare


def selected_assets() -> tuple[str, Collection[dg.AssetKey]]:
    """Return the id of the present run, and the keys of the assets that it materializes."""
    context = dg.AssetExecutionContext.get().op_execution_context
    return context.run_id, context.job_def.asset_layer.selected_asset_keys


def materialize_result(
    result: StageResult,
    summary: str,
    metadata: Mapping[str, Any],
    checks: Sequence[Check] = (),
    rows: int | None = None,
    path: Path | None = None,
) -> Result:
    """Return a stage's result in Dagster's form, and run its checks."""
    where = {}
    if path is not None:
        where["path"] = dg.MetadataValue.path(redact(str(path.resolve())))
    counted = {} if rows is None else {"dagster/row_count": rows}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(result.digest),
        metadata={
            "summary": redact(summary),
            "work": "built" if result.built else "unchanged",
            **counted,
            **where,
            **metadata,
        },
        check_results=[_run_check(check) for check in checks],
    )


def _specs(key: dg.AssetKey, checks: Sequence[Check]) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(c.name, asset=key, description=c.description, blocking=c.blocking)
        for c in checks
    ]


def _run_check(check: Check) -> dg.AssetCheckResult:
    """Run a check; a failed one lists the differences, and only warns if it does not block."""
    passed, figures, problems = check.find()
    severity = dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
    compared = table([{"figure": what, "found": str(found)} for what, found in figures.items()])
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=passed,
        severity=severity,
        description=redact("; ".join(problems)) or None,
        metadata={
            **({"compared": compared} if figures else {}),
            **({"problems": bullets(problems)} if problems else {}),
        },
    )


def _without_traceback(compute: Compute) -> Compute:
    """Turn a UserError into a failure with its message and without a traceback."""

    def run() -> Result:
        try:
            return compute()
        except UserError as error:
            parts = {"where": error.where, "problem": error.problem, "what to do": error.remedy}
            raise dg.Failure(str(error), metadata=parts, allow_retries=False) from None
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            if redact(trace) == trace:
                raise
            # Dagster stores the message of an exception and those of its causes.
            raise dg.Failure(redact(trace), allow_retries=False) from None

    # Dagster knows MaterializeResult as an annotation, but not MaterializeResult[Any].
    run.__annotations__.clear()
    return run
