"""The training plan in the asset graph: each stage runs once, by the command line."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import dagster as dg
import pytest
import yaml
from conftest import World
from training_world import STAGES, build_shapes, manifest

from assets.definitions import graph
from imp_data.errors import UserError
from imp_data.pipeline.build import Build
from imp_data.training import plan
from imp_data.training.plan import Plan

WITH_TORCH = pytest.mark.skipif(not find_spec("torch"), reason="pip install 'imp-data[train]'")
TRAINED = {"projector", "adapter", "model"}


@pytest.fixture
def shapes(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Build a world whose mixture `small` has 8 rows and names the model `small`."""
    for name in ("OMP_NUM_THREADS", "IMP_WORKERS"):
        monkeypatch.setenv(name, "1")
    build_shapes(world, 6)
    write_model(world)
    return world


def write_model(world: World, **changes: Any) -> None:
    manifest(world, {n: {**stage, **changes} for n, stage in STAGES.items()})


def named(world: World) -> Build:
    return world.build({"shapes": 8}, model="small")


def rebuild(world: World) -> dict[str, dict[str, Any]]:
    """Return the metadata of the materialized assets."""
    job = graph(named(world)).resolve_job_def("rebuild")
    # Only up to the model; tests/mobile test the assets for the phone.
    wanted = [
        key
        for key in job.asset_layer.executable_asset_keys
        if job.asset_layer.get(key).group_name != "mobile"
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, raise_on_error=False, asset_selection=wanted
        )
    made = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    ]
    return {
        m.asset_key.to_user_string().removeprefix("small/"): {
            name: v.value for name, v in m.metadata.items()
        }
        for m in made
    }


def work(materialized: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {key: metadata["work"] for key, metadata in materialized.items() if key in TRAINED}


def launch_here(line: Sequence[str]) -> dict[str, Any]:
    """Run a command line in this process, which imports torch once."""
    from imp_data.cli import app

    assert not app(list(line[3:]), standalone_mode=False)
    return {}


@WITH_TORCH
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_changed_manifest_repeats_only_the_changed_stages(
    shapes: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rebuild(shapes)
    assert work(first) == dict.fromkeys(TRAINED, "built")
    assert first["projector"]["steps"] == first["projector"]["projector_steps"] == 2
    assert first["projector"]["loss by step"].records[0].data["step"] == 1
    assert "data:image/svg+xml;base64," in first["adapter"]["loss curve"]
    assert (shapes.data.model("small") / "merged" / "config.json").is_file()
    capfd.readouterr()
    assert work(rebuild(shapes)) == dict.fromkeys(TRAINED, "unchanged")
    assert "nothing had changed" in capfd.readouterr().err
    model = shapes.manifests / "models" / "small.yaml"
    fields = yaml.safe_load(model.read_text())
    fields["stages"]["adapter"]["learning_rate"] = 0.001
    monkeypatch.setattr("assets.training.launch", launch_here)
    model.write_text(yaml.safe_dump(fields))
    assert work(rebuild(shapes)) == {
        "projector": "unchanged",
        "adapter": "built",
        "model": "built",
    }


def test_a_model_without_its_libraries_fails_with_the_command_to_install_them(
    shapes: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plan, "find_spec", lambda name: None)
    materialized = rebuild(shapes)
    assert "mixture" in materialized and not TRAINED & set(materialized)
    stderr = capfd.readouterr().err
    assert "the library torch, which trains A small model: is not installed" in stderr
    assert stderr.count("pip install 'imp-data[train]'") == 1
    assert "Traceback" not in stderr


@pytest.mark.slow
@WITH_TORCH
def test_a_failed_commands_message_is_the_steps_message(
    shapes: World, capfd: pytest.CaptureFixture[str]
) -> None:
    write_model(shapes, precision="fp16")
    assert not TRAINED & set(rebuild(shapes))
    stderr = capfd.readouterr().err
    assert "stages.projector.precision: fp16 needs a GPU" in stderr
    assert "What to do: write bf16 or fp32 into the manifest" in stderr


def test_a_model_without_a_manifest_is_named(world: World) -> None:
    build_shapes(world, 6)
    with pytest.raises(UserError, match=r"models/huge\.yaml: there is no such manifest"):
        Plan.of(world.build({"shapes": 8}, model="huge"))


def test_a_mixture_without_a_manifest_is_named(shapes: World) -> None:
    write_model(shapes, mixture="elsewhere")
    with pytest.raises(UserError, match="names the mixture elsewhere"):
        graph(named(shapes))
