"""gguf, quality, phone: what becomes of a trained model for llama.cpp, each by the command line."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets.factory import Result, report, stage
from assets.launch import launch
from assets.tables import size, table
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
    """The way to the phone of the model that the mixture's manifest names, if it names one."""
    plan = Plan.of(build)
    return [] if plan is None else [_gguf(plan), _quality(plan), _phone(plan)]


def _gguf(plan: Plan) -> dg.AssetsDefinition:
    rows: list[dict[str, Any]] = []
    check = Check(
        "parity",
        "Every file answers as PyTorch does, within its precision's tolerance.",
        lambda: _equal(rows),
    )

    @stage(
        plan.build,
        "gguf",
        after=["model"],
        kinds={"python", "pytorch"},
        description=f"**{plan.model.title}** as files for llama.cpp, by precision and resolution, "
        "with proof that they answer as PyTorch does.",
        checks=[check],
        group=GROUP,
        code=CODE_VERSIONS["gguf"],
    )
    def gguf() -> Result:
        result = export_stage(plan, _run)
        rows[:] = parity_stage(plan, _run).figures["rows"]
        summary = "\n".join([size(_bytes(result.figures["files"])), *parity_summary(rows)])
        told = {
            "files": table(result.figures["files"]),
            "beside PyTorch": table([{**r, "problems": "; ".join(r["problems"])} for r in rows]),
        }
        return report(result, summary, told, [check], path=gguf_folder(plan))

    return gguf


def _quality(plan: Plan) -> dg.AssetsDefinition:
    drawn = plan.build.recipe.mixture.drawn

    @stage(
        plan.build,
        "quality",
        after=["gguf", *(["evidence"] if drawn else [])],
        kinds={"python", "pytorch"},
        description="What a smaller file costs: answers kept, shift of log-probability, right "
        "answers to held-out questions.",
        group=GROUP,
        code=CODE_VERSIONS["quality"],
    )
    def quality() -> Result:
        result = quality_stage(plan, _run)
        rows = result.figures["rows"]
        kept, cases = (sum(row[name] for row in rows) for name in ("equal_answers", "cases"))
        told = {"by precision and resolution": table(rows), **_chart(plan)}
        summary = f"{kept} of {cases} answers as PyTorch's unrounded"
        return report(result, summary, told, path=gguf_folder(plan) / "quality.json")

    return quality


def _phone(plan: Plan) -> dg.AssetsDefinition:
    @stage(
        plan.build,
        "phone",
        after=["gguf"],
        kinds={"python"},
        description="The folder for a phone: two files, digests, memory, licence, instructions.",
        group=GROUP,
        code=CODE_VERSIONS["phone"],
    )
    def phone() -> Result:
        result = phone_stage(plan, _run)
        files, memory = result.figures["files"], result.figures["minimum_memory_bytes"]
        summary = f"{size(_bytes(files))}, some {size(memory)} of memory"
        path = gguf_folder(plan) / "mobile"
        return report(result, summary, {"files": table(files)}, path=path)

    return phone


def _run(words: Sequence[str]) -> None:
    launch(command_line(words))


def _bytes(files: Sequence[Mapping[str, Any]]) -> int:
    return sum(file["bytes"] for file in files)


def _equal(rows: Sequence[dict[str, Any]]) -> Finding:
    figures = {
        f"{row['precision']} at {row['images']} px": f"{row['agreed']} of {row['tokens']} tokens,"
        f" shift {row['mean_shift']:.5f} on the mean, {row['most_shift']:.4f} at most"
        for row in rows
    }
    found = parity_problems(rows)
    return Finding(not found, figures, found)


def _chart(plan: Plan) -> dict[str, dg.MarkdownMetadataValue]:
    drawn = base64.b64encode((gguf_folder(plan) / "quality.svg").read_bytes()).decode()
    return {"chart": dg.MetadataValue.md(f"![quality](data:image/svg+xml;base64,{drawn})")}
