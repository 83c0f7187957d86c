"""The mobile stages of a mixture's model run once, and stop if parity fails."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import dagster as dg
import pytest
from conftest import World
from training_world import STAGES, build_shapes, manifest

from assets.mobile import mobile_assets
from imp_data.errors import UserError
from imp_data.manifests import model_digest
from imp_data.manifests.model import load_model
from imp_data.mobile import plan as plan_module
from imp_data.mobile.plan import (
    export_stage,
    gguf_folder,
    parity_problems,
    parity_stage,
    phone_stage,
    quality_stage,
)
from imp_data.training.plan import Plan

WITH_LLAMA_CPP = pytest.mark.skipif(
    not (find_spec("xllamacpp") and find_spec("transformers")),
    reason="pip install 'imp-data[mobile]'",
)
SIZE = 56
ASSETS = (export_stage, parity_stage, quality_stage, phone_stage)


@pytest.fixture
def plan(world: World, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Return a plan with a merged model of random weights, since its training is irrelevant."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    build_shapes(world, 6)
    manifest(world, export={"bits": [16]}, image_size=SIZE)
    return planned(world)


def planned(world: World) -> Plan:
    found = Plan.of(world.build({"shapes": 8}, model="small"))
    assert found is not None
    return found


def merged(plan: Plan, **says: Any) -> None:
    """Finish the stage `model`."""
    from models import save_model

    def build() -> dict[str, Any]:
        save_model(plan.merged, **says)
        return {}

    plan.build.stage("models/small/merged", says, [plan.merged], build)


def command(words: Sequence[str]) -> None:
    """Run an `imp-data` command in this process, which has already imported torch."""
    from imp_data.cli import app

    if app(list(words), standalone_mode=False):
        raise UserError(" ".join(words), "ended with status 1", "see above")


@pytest.mark.slow
@WITH_LLAMA_CPP
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_stage_runs_once_and_again_after_a_change_of_its_inputs(
    plan: Plan, world: World
) -> None:
    merged(plan)
    assert [stage(plan, command).built for stage in ASSETS] == [True] * 4
    folder = gguf_folder(plan)
    files = {"text-F16.gguf", f"vision-F16-{SIZE}.gguf", "manifest.json", "parity.json"}
    files |= {"parity.txt", "quality.json", "quality.svg", "mobile"}
    assert {path.name for path in folder.iterdir()} == files
    assert [stage(plan, command).built for stage in ASSETS] == [False] * 4
    (folder / "text-F16.gguf").unlink()
    assert export_stage(plan, command).built, "a file that is gone is written again"
    # The files have the same bytes as before; the reports about them were removed.
    assert [stage(plan, command).built for stage in (parity_stage, phone_stage)] == [True, False]
    manifest(world, export={"bits": [16], "resolutions": [SIZE, 28]}, image_size=SIZE)
    assert export_stage(planned(world), command).built


@pytest.mark.slow
@WITH_LLAMA_CPP
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_parity_failure_is_reported_and_stops_the_graph(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged(plan)
    passed, told = materialized(plan)
    assert passed and set(told) == {"gguf", "quality", "phone"}
    assert "F16     answers equal to PyTorch's: " in told["gguf"]["summary"]
    assert told["phone"]["path"].endswith("gguf/mobile")
    assert "data:image/svg+xml;base64," in told["quality"]["chart"]
    (gguf_folder(plan) / "text-F16.gguf").unlink()
    monkeypatch.setattr("assets.mobile._run", lambda words: command_without_a_bias(plan, words))
    passed, told = materialized(plan)
    assert not passed and set(told) == {"gguf"}, "nothing below it is built"
    assert "F16     answers DIFFERENT from PyTorch's: " in told["gguf"]["summary"]
    found = parity_problems(parity_stage(plan, command).figures["rows"])
    assert f"F16 at {SIZE} px: tall: mean shift above 0.004" in found


def test_without_its_libraries_no_file_is_written_and_the_error_names_the_extra(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.build.stage("models/small/merged", {}, [], dict)
    monkeypatch.setattr(plan_module, "find_spec", lambda name: None)
    with pytest.raises(UserError) as raised:
        export_stage(plan, command)
    assert str(raised.value).startswith("the library gguf, required to export A small model")
    assert "pip install 'imp-data[mobile]'" in raised.value.remedy


def test_the_export_settings_are_not_part_of_the_recipe_digest(plan: Plan, world: World) -> None:
    before = model_digest(load_model(plan.manifest))
    manifest(world, export={"bits": [8, 4], "resolutions": [28]}, image_size=SIZE)
    assert model_digest(load_model(plan.manifest)) == before


def exported_with(plan: Plan) -> list[str]:
    """Return the words of the export command without running it."""
    said: list[str] = []

    def write(words: Sequence[str]) -> None:
        said.extend(words)
        gguf_folder(plan).mkdir(parents=True, exist_ok=True)
        (gguf_folder(plan) / "manifest.json").write_text('{"files": []}')

    plan.merged.mkdir(parents=True, exist_ok=True)
    (plan.merged / "imp.json").write_text("{}")
    plan.build.stage("models/small/merged", {}, [plan.merged], dict)
    assert export_stage(plan, write).built
    return said


@WITH_LLAMA_CPP
def test_the_export_command_gets_the_mixtures_and_the_short_answer_suffix(
    plan: Plan, world: World
) -> None:
    mixture = str(world.data.mixture("small"))
    words = exported_with(plan)
    assert words[words.index("--mixture") + 1] == mixture
    assert "--short-answer-suffix" not in words
    suffix = "\nAnswer in a word."
    manifest(world, export={"bits": [16], "short_answer_suffix": suffix}, image_size=SIZE)
    words = exported_with(planned(world))
    assert words[words.index("--short-answer-suffix") + 1] == suffix


def test_a_mixture_trained_without_questions_gives_no_examples(world: World) -> None:
    build_shapes(world, 6)
    plain = {name: {**stage, "template": "plain"} for name, stage in STAGES.items()}
    manifest(world, plain, image_size=SIZE)
    assert planned(world).mixtures_with_questions == []
    manifest(world, {**STAGES, "projector": plain["projector"]}, image_size=SIZE)
    assert [build.name for build in planned(world).mixtures_with_questions] == ["small"]


@pytest.mark.parametrize(
    ("export", "problem"),
    [
        ({"bits": [5]}, "export.bits.0"),
        ({"resolutions": [13]}, "export.resolutions: 13 is not between 14 and 224"),
        ({"resolutions": []}, "export.resolutions"),
        ({"pixels": [28]}, "export.pixels"),
    ],
)
def test_an_invalid_export_field_is_named_in_the_error(
    world: World, export: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError, match=r"small\.yaml") as raised:
        load_model(manifest(world, export=export, image_size=SIZE))
    assert problem in str(raised.value)


def command_without_a_bias(plan: Plan, words: Sequence[str]) -> None:
    """Run the command, but remove the last layer's bias from the exported model only."""
    from safetensors.torch import load_file, save_file

    if "export" not in words:
        command(words)
        return
    file = plan.merged / "model.safetensors"
    whole = file.rename(file.with_suffix(".whole"))
    weights = load_file(whole)
    weights["lm_head.bias"].zero_()
    save_file(weights, file, {"format": "pt"})
    command(words)
    whole.replace(file)


def materialized(plan: Plan) -> tuple[bool, dict[str, dict[str, Any]]]:
    """Materialize the graph; return its success, and the metadata by asset."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(mobile_assets(plan.build), instance=instance, raise_on_error=False)
    made = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    ]
    found = {
        m.asset_key.to_user_string().removeprefix("small/"): {
            name: v.value for name, v in m.metadata.items()
        }
        for m in made
    }
    return result.success, found
