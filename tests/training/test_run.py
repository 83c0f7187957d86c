"""A run: finished and resumed stages, errors of its inputs, the card, and answers."""

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from conftest import World, encoded, run
from safetensors.torch import load_file
from training_runs import finished, losses, run_of, shapes
from training_world import COLOURS, QUESTION, STAGE, STAGES, shape

from imp_data.errors import UserError
from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.evaluation.generate import AnswerGenerator
from imp_data.training.loop.run import train
from imp_data.training.model.merge import merge

__all__ = ["finished", "shapes"]


def test_the_plain_template_trains_on_captions_alone(
    shapes: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = {**STAGE, "template": "plain", "sampler": "random", "save_steps": 100}
    train(run_of(shapes, tmp_path, {"projector": stage}))
    stdout = capsys.readouterr().out
    assert "the template plain takes one caption of one image" in stdout
    figures = json.loads((tmp_path / "projector/preflight.json").read_text())["together"]
    assert (figures["samples"], figures["refused"]) == (22, 4)
    # 18 images in steps of 4.
    assert len(losses(tmp_path / "projector")) == 5
    found = load_file(tmp_path / "projector/outcome/projector.safetensors")
    assert len(found) == 4
    assert not (tmp_path / "projector/outcome/whole.safetensors").exists()


def test_a_finished_stage_is_not_trained_again(
    finished: Path, shapes: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "adapter" / "metrics.jsonl").read_bytes()
    train(run_of(shapes, finished))
    assert "outcome is finished" in capsys.readouterr().out
    assert (finished / "adapter" / "metrics.jsonl").read_bytes() == before


def test_another_recipe_does_not_resume_a_run(finished: Path, shapes: World) -> None:
    stages = {**STAGES, "projector": {**STAGES["projector"], "learning_rate": 0.1}}
    with pytest.raises(
        UserError, match="holds a run of another recipe, mixture or number of steps"
    ):
        train(run_of(shapes, finished, stages))


def test_a_stage_trains_on_the_mixture_of_its_manifest(shapes: World, tmp_path: Path) -> None:
    stages = {"projector": {**STAGES["projector"], "mixture": "captions"}}
    with pytest.raises(UserError, match=r"the manifest names the mixture captions; .* is small"):
        train(run_of(shapes, tmp_path, stages))


def test_an_adapter_stage_needs_a_finished_projector_stage(shapes: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished projector stage"):
        train(run_of(shapes, tmp_path, stage="adapter"))


def test_the_adapter_stage_starts_from_the_projector_of_another_run(
    finished: Path, shapes: World, tmp_path: Path
) -> None:
    train(run_of(shapes, tmp_path, stage="adapter", projector=finished))
    assert losses(tmp_path / "adapter") == losses(finished / "adapter")


def test_the_card_names_the_mixtures_root_digest(finished: Path, shapes: World) -> None:
    digest = open_mixture(shapes.data.mixture("small")).digest
    card = (finished / "adapter" / "outcome" / "README.md").read_text()
    assert f"`{digest}`" in card
    assert "r 4, alpha 4, dropout 0.05 on q_proj, k_proj" in card
    facts = json.loads((finished / "adapter" / "outcome" / "imp.json").read_text())
    assert facts["mixture"] == {"name": "small", "rows": 22, "digest": digest}


def test_a_merged_run_answers_questions(finished: Path, tmp_path: Path) -> None:
    facts = merge(finished, tmp_path / "merged")
    assert facts["stage"] == "adapter"
    answer = AnswerGenerator(tmp_path / "merged").answer(shape(COLOURS["red"], 1), QUESTION, 8)
    assert isinstance(answer, str)
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "trust_remote_code=True" in card
    with pytest.raises(UserError, match="holds no finished stage"):
        merge(tmp_path, tmp_path / "again")


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["modality_length", "packed"])
def test_a_run_trains_on_samples_of_several_images_and_their_system_turns(
    world: World, tmp_path: Path, sampler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"{n}.png": encoded(shape(COLOURS["red"], n)) for n in range(6)}
    world.images("shapes", files, path="shapes")
    records = []
    for n in range(6):
        images = [f"shapes/{k}.png" for k in range(n)]
        turns = [
            {"from": "system", "value": "Count."},
            {"from": "human", "value": "<image>" * n + "How many?"},
            {"from": "gpt", "value": f"There are {n}."},
        ]
        records.append({"id": n, "images": images, "conversations": turns})
    result = {"from": "tool", "value": "12"}
    calls = [*records[0]["conversations"], result, records[0]["conversations"][2]]
    records.append({"id": "tool", "conversations": calls})
    world.source("shapes", records, images=["shapes"], max_images=5)
    run(world.build({"shapes": 7}, keep_turns=["system", "tool"]))
    stage = {**STAGES["projector"], "sampler": sampler, "save_steps": 100}
    train(run_of(world, tmp_path, {"projector": stage}))
    assert "the template phi2 has no place for turns by tools" in capsys.readouterr().out
    figures = json.loads((tmp_path / "projector/preflight.json").read_text())["together"]
    assert (figures["samples"], figures["refused"], figures["truncated"]) == (7, 1, 0)
    assert all(loss > 0 for loss in losses(tmp_path / "projector"))
