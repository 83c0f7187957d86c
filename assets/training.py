"""Assets projector, adapter, model and evidence: train a mixture's model by the command line."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import orjson

from assets.factory import Result, materialize_result, stage_asset
from assets.launch import launch
from assets.tables import count_noun, format_bytes, table
from demo.evidence import CODE as EVIDENCE
from demo.evidence import evaluate_held_out
from imp_data.manifests.model import Stage, StageName
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild
from imp_data.training.plan import CODE, MERGE_CODE, Plan, command_line, describe_stage

GROUP = "training"
_POINTS = 20
_COLUMNS = ("step", "loss", "learning_rate", "tokens_per_second")


def training_assets(build: Build) -> list[dg.AssetsDefinition]:
    """Return the assets of the model that the mixture's manifest names; none if it names none."""
    plan = Plan.of(build)
    if plan is None:
        return []
    mixtures = [_mixture(plan, other) for other in plan.other_mixtures]
    evidence = [_evidence(plan)] if build.recipe.mixture.drawn else []
    return [*mixtures, *_stages(plan), _model(plan), *evidence]


def _mixture(plan: Plan, other: Build) -> dg.AssetsDefinition:
    """Return the asset of another mixture of the model's stages, which runs all its stages."""

    @stage_asset(
        other,
        "mixture",
        after=["world"] if other.recipe.mixture.drawn else [],
        kinds={"python", "arrow", "huggingface"},
        description=f"**{other.recipe.mixture.title}**: the mixture of an earlier training stage "
        f"of {plan.model.title}. One asset for all its stages; set IMP_MIXTURE to show them as a "
        "graph.",
        group=GROUP,
    )
    def mixture() -> Result:
        result = rebuild(other)["mixture"]
        rows = result.figures["rows"]
        return materialize_result(
            result, count_noun(rows, "row"), {}, rows=rows, path=other.data.mixture(other.name)
        )

    return mixture


def _stages(plan: Plan) -> list[dg.AssetsDefinition]:
    """Return the assets of the stages, each after the mixtures and the previous stage."""
    above = ["mixture", *(f"mixtures/{other.name}" for other in plan.other_mixtures)]
    names = [name for name, _ in plan.model.planned]
    return [
        _stage(plan, name, recipe, [*above, *names[max(0, number - 1) : number]])
        for number, (name, recipe) in enumerate(plan.model.planned)
    ]


def _stage(plan: Plan, name: StageName, recipe: Stage, after: list[str]) -> dg.AssetsDefinition:
    run = plan.folder / name

    @stage_asset(
        plan.build,
        name,
        after=after,
        kinds={"python", "pytorch"},
        description=describe_stage(recipe, plan),
        group=GROUP,
        code=CODE,
    )
    def trained() -> Result:
        reported: dict[str, Any] = {}
        result = plan.train(name, lambda words: reported.update(launch(command_line(words))))
        done = result.figures
        first_loss, curve = _loss_curve(run)
        summary = (
            f"{count_noun(done['steps'], 'step')}, loss {first_loss:.3f} to {done['loss']:.3f}"
        )
        numbers = {"loss": round(done["loss"], 4), **{n: done[n] for n in ("steps", "tokens")}}
        newest = {n: _round(value) for n, value in reported.items()}
        return materialize_result(
            result, summary, {**curve, **numbers, **newest}, path=run / "outcome"
        )

    return trained


def _model(plan: Plan) -> dg.AssetsDefinition:
    @stage_asset(
        plan.build,
        "model",
        after=[plan.model.planned[-1][0]],
        kinds={"python", "pytorch", "huggingface"},
        description=f"**{plan.model.title}**: LoRA merged into the weights, in one folder that "
        "transformers loads.",
        group=GROUP,
        code=MERGE_CODE,
    )
    def model() -> Result:
        result = plan.merge(lambda words: launch(command_line(words)))
        return materialize_result(
            result, format_bytes(result.figures["bytes"]), {}, path=plan.merged
        )

    return model


def _evidence(plan: Plan) -> dg.AssetsDefinition:
    @stage_asset(
        plan.build,
        "evidence",
        after=["model"],
        kinds={"python", "pytorch"},
        description="Evidence of vision: accuracy on questions about newly drawn images, with "
        "each image and with grey in its place.",
        group=GROUP,
        code=EVIDENCE,
    )
    def evidence() -> Result:
        result = evaluate_held_out(plan, lambda words: launch(command_line(words)))
        rows = result.figures["kinds"]
        metadata = {"right answers, percent": table(rows)}
        parts = [f"{r['question']} {r['seeing']:.0f} % (blind {r['blind']:.0f})" for r in rows]
        return materialize_result(result, ", ".join(parts), metadata, path=plan.folder / "evidence")

    return evidence


def _loss_curve(run: Path) -> tuple[float, Mapping[str, Any]]:
    """Return the first step's loss, and metadata with the loss curve as a chart and a table."""
    lines = [orjson.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    sampled = lines[:: max(1, len(lines) // _POINTS)]
    chart = base64.b64encode((run / "loss.svg").read_bytes()).decode()
    return lines[0]["loss"], {
        "loss curve": dg.MetadataValue.md(f"![loss by step](data:image/svg+xml;base64,{chart})"),
        "interactive chart": dg.MetadataValue.path(str((run / "loss.html").resolve())),
        "loss by step": table([{n: _round(p[n]) for n in _COLUMNS} for p in sampled]),
    }


def _round(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
