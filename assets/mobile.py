"""The assets gguf, quality and phone: a trained model exported for llama.cpp and for a phone."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets.factory import Result, materialize_result, stage_asset
from assets.launch import launch
from assets.tables import format_bytes, table
from imp_data.mobile.plan import (
    CODE_VERSIONS,
    export_stage,
    gguf_folder,
    parity_problems,
    parity_stage,
    parity_summary,
    phone_stage,
    quality_stage,
)
from imp_data.pipeline.build import Build
from imp_data.pipeline.checks import Check, Finding
from imp_data.training.plan import Plan, command_line

GROUP = "mobile"


def mobile_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return the assets for the model that the mixture's manifest names; none without a model."""
    plan = Plan.of(build)
    return [] if plan is None else [_gguf(plan), _quality(plan), _phone(plan)]


def _gguf(plan: Plan) -> dg.AssetsDefinition:
    rows: list[dict[str, Any]] = []
    check = Check(
        "parity",
        "The answers of every file equal PyTorch's within the tolerance of its precision.",
        lambda: _parity_finding(rows),
    )

    @stage_asset(
        plan.build,
        "gguf",
        after=["model"],
        kinds={"python", "pytorch"},
        description=f"**{plan.model.title}** as GGUF files for llama.cpp, one per precision and "
        "resolution, with a comparison of their answers with PyTorch's.",
        checks=[check],
        group=GROUP,
        code=CODE_VERSIONS["gguf"],
    )
    def gguf() -> Result:
        result = export_stage(plan, _run)
        rows[:] = parity_stage(plan, _run).figures["rows"]
        summary = "\n".join([format_bytes(_bytes(result.figures["files"])), *parity_summary(rows)])
        tables = {
            "files": table(result.figures["files"]),
            "beside PyTorch": table([{**r, "problems": "; ".join(r["problems"])} for r in rows]),
        }
        return materialize_result(result, summary, tables, [check], path=gguf_folder(plan))

    return gguf


def _quality(plan: Plan) -> dg.AssetsDefinition:
    is_demo = plan.build.recipe.mixture.drawn

    @stage_asset(
        plan.build,
        "quality",
        after=["gguf", *(["evidence"] if is_demo else [])],
        kinds={"python", "pytorch"},
        description="Quality lost by smaller files: unchanged answers, shift of log-probability, "
        "correct answers to held-out questions.",
        group=GROUP,
        code=CODE_VERSIONS["quality"],
    )
    def quality() -> Result:
        result = quality_stage(plan, _run)
        rows = result.figures["rows"]
        equal, cases = (sum(row[name] for row in rows) for name in ("equal_answers", "cases"))
        tables = {"by precision and resolution": table(rows), **_chart(plan)}
        summary = f"{equal} of {cases} answers equal PyTorch's with unrounded weights"
        return materialize_result(result, summary, tables, path=gguf_folder(plan) / "quality.json")

    return quality


def _phone(plan: Plan) -> dg.AssetsDefinition:
    @stage_asset(
        plan.build,
        "phone",
        after=["gguf"],
        kinds={"python"},
        description="The folder to copy to a phone: two models, digests, required memory, licence "
        "and instructions.",
        group=GROUP,
        code=CODE_VERSIONS["phone"],
    )
    def phone() -> Result:
        result = phone_stage(plan, _run)
        files, memory = result.figures["files"], result.figures["minimum_memory_bytes"]
        summary = f"{format_bytes(_bytes(files))}; needs about {format_bytes(memory)} of memory"
        path = gguf_folder(plan) / "mobile"
        return materialize_result(result, summary, {"files": table(files)}, path=path)

    return phone


def _run(words: Sequence[str]) -> None:
    launch(command_line(words))


def _bytes(files: Sequence[Mapping[str, Any]]) -> int:
    return sum(file["bytes"] for file in files)


def _parity_finding(rows: Sequence[dict[str, Any]]) -> Finding:
    figures = {
        f"{row['precision']} at {row['images']} px": f"{row['agreed']} of {row['tokens']} tokens,"
        f" mean shift {row['mean_shift']:.5f}, largest {row['most_shift']:.4f}"
        for row in rows
    }
    problems = parity_problems(rows)
    return Finding(not problems, figures, problems)


def _chart(plan: Plan) -> dict[str, dg.MarkdownMetadataValue]:
    chart = base64.b64encode((gguf_folder(plan) / "quality.svg").read_bytes()).decode()
    return {"chart": dg.MetadataValue.md(f"![quality](data:image/svg+xml;base64,{chart})")}
