"""What the assets of every box share: how one is declared, how it reports, how it fails."""

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
from imp_data.pipeline.stages import code_of
from imp_data.redaction import redacted
from imp_data.storage.stage_cache import StageResult

Result = dg.MaterializeResult[Any]
Compute = Callable[[], Result]
# Whose files all mixtures of a data directory have in common.
COMMON = {"inputs", "raw", "world"}


def key_of(build: Build, asset: str) -> dg.AssetKey:
    """The key of a mixture's asset in Dagster, of its name in the data directory ("raw/dvqa").

    It begins with the mixture that the asset belongs to. Raw files are common to all mixtures of a
    data directory; drawn ones have another directory than fetched ones.
    """
    box, *rest = asset.split("/")
    if box in COMMON:
        return dg.AssetKey([*(["drawn"] if build.recipe.mixture.drawn else []), box, *rest])
    if box == "mixtures":
        return dg.AssetKey([*rest, "mixture"])
    return dg.AssetKey([build.name, box, *rest])


def stage(
    build: Build,
    *name: str,
    after: Collection[str],
    kinds: set[str],
    description: str,
    tags: Mapping[str, str] | None = None,
    checks: Sequence[Check] = (),
    group: str | None = None,
    code: str | None = None,
) -> Callable[[Compute], dg.AssetsDefinition]:
    """An asset of the box that `name` begins with, below the assets `after` ("raw/dvqa").

    A box of one asset alone names the `group` it is shown in; one that the pipeline does not know
    the `code` behind it, as a digest.
    """
    box, key = name[0], key_of(build, "/".join(name))
    mixture = {} if box in COMMON else {MIXTURE: key.path[0]}

    def declare(compute: Compute) -> dg.AssetsDefinition:
        return dg.asset(
            key=key,
            deps=[key_of(build, other) for other in after],
            group_name=group or box,
            kinds=kinds,
            owners=["team:data"],
            tags={**(tags or {}), **mixture},
            description=description,
            code_version=code or code_of(box),
            check_specs=_specs(key, checks),
        )(_legible(compute))

    return declare


def report(
    result: StageResult,
    summary: str,
    metadata: Mapping[str, Any],
    checks: Sequence[Check] = (),
    rows: int | None = None,
    path: Path | None = None,
) -> Result:
    """What a stage left, as Dagster shows it; its checks are made here."""
    where = {}
    if path is not None:
        where["path"] = dg.MetadataValue.path(redacted(str(path.resolve())))
    counted = {} if rows is None else {"dagster/row_count": rows}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(result.digest),
        metadata={
            "summary": redacted(summary),
            "work": "built" if result.built else "unchanged",
            **counted,
            **where,
            **metadata,
        },
        check_results=[_checked(check) for check in checks],
    )


def _specs(key: dg.AssetKey, checks: Sequence[Check]) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(c.name, asset=key, description=c.description, blocking=c.blocking)
        for c in checks
    ]


def _checked(check: Check) -> dg.AssetCheckResult:
    """A check that fails says what differs; one that does not block only warns."""
    passed, figures, problems = check.find()
    severity = dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
    compared = table([{"what": what, "found": str(found)} for what, found in figures.items()])
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=passed,
        severity=severity,
        description=redacted("; ".join(problems)) or None,
        metadata={
            **({"compared": compared} if figures else {}),
            **({"problems": bullets(problems)} if problems else {}),
        },
    )


def _legible(compute: Compute) -> Compute:
    """What a person must mend ends the step with its message, not with a traceback."""

    def told() -> Result:
        try:
            return compute()
        except UserError as error:
            parts = {"where": error.where, "problem": error.problem, "what to do": error.remedy}
            raise dg.Failure(str(error), metadata=parts, allow_retries=False) from None
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            if redacted(trace) == trace:
                raise
            # Dagster keeps what an exception says, and those that it comes from.
            raise dg.Failure(redacted(trace), allow_retries=False) from None

    # Dagster knows MaterializeResult as an annotation, but not MaterializeResult[Any].
    told.__annotations__.clear()
    return told
