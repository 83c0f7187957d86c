"""Images of 196 pixels give 196 tokens, in training and in an export of a model for 384."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("peft", reason="pip install 'imp-data[train]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

import torch
from conftest import World
from gguf import GGUFReader
from models import byte_level_tokenizer, save_model, vision_config
from training_world import MODEL, STAGE, build_shapes, model
from transformers import SiglipVisionModel

from imp_data.mobile.gguf import vision_model
from imp_data.mobile.gguf.export import export
from imp_data.mobile.gguf.export_manifest import ExportManifest
from imp_data.mobile.gguf.merged_model import load_checkpoint
from imp_data.mobile.gguf.position_embedding import interpolate_positions
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.gguf.weights import Floats
from imp_data.mobile.measure.parity import compare_export
from imp_data.mobile.measure.test_prompts import default_cases
from imp_data.mobile.runtime.in_process import RuntimeSettings, open_runtime
from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.loop.run import Run, train
from imp_data.training.model.merge import merge
from imp_data.training.model.pretrained import resize_positions

TABLE = "vision.embeddings.position_embedding.weight"
# An image's 729 tokens and the conversation about it.
QUIET = RuntimeSettings(context=1024, threads=1, exact=True)


def tower() -> SiglipVisionModel:
    """Return a tiny network of random weights with SigLIP's grid of 27 x 27 positions."""
    torch.manual_seed(3)
    return SiglipVisionModel(vision_config(image_size=384))


def table_of(folder: Path) -> Floats:
    """Return the position table of a model folder."""
    return load_checkpoint(folder).tensors[TABLE].whole()


def exported_table(path: Path) -> Any:
    """Return the position table of a GGUF file."""
    (found,) = (t for t in GGUFReader(path).tensors if t.name == "v.position_embd.weight")
    return found.data


def image_tokens(folder: Path, size: int) -> int:
    """Return the number of tokens of an image in llama.cpp."""
    with open_runtime(folder, Precision.F16, size, QUIET) as runtime:
        prompt = runtime.prompt("What is it?", with_image=True)
        read = runtime.answer(prompt, default_cases()[0].image, 1).timings["prompt_n"]
        return int(read) - sum(len(piece) for piece in runtime.tokenize(prompt))


def test_trainer_and_exporter_interpolate_the_same_table_of_196_positions() -> None:
    vision = tower()
    table = vision.embeddings.position_embedding.weight.detach().numpy().copy()
    assert len(table) == 27 * 27
    resize_positions(vision, 196)
    trained = vision.embeddings.position_embedding.weight.detach().numpy()
    assert trained.shape == (196, 64)
    assert np.abs(interpolate_positions(table, 14) - trained).max() < 1e-5


@pytest.fixture(scope="module")
def for_384(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("for_384") / "model"
    return save_model(folder, image_size=384, tokenizer=byte_level_tokenizer())


@pytest.mark.slow
def test_a_model_for_384_answers_at_196_as_pytorch_with_interpolated_positions(
    for_384: Path, tmp_path: Path
) -> None:
    export(for_384, tmp_path, [16, 4], [384, 196])
    report = compare_export(for_384, tmp_path, default_cases(), QUIET)
    assert report.passed, "\n".join(report.lines())
    assert {row.resolution for row in report.rows} == {384, 196}
    assert [image_tokens(tmp_path, size) for size in (384, 196)] == [729, 196]


def every_other_place(table: Floats, side: int) -> Floats:
    """Reduce 27 x 27 to 14 x 14 positions by skipping, as one might assume."""
    grid = table.reshape(27, 27, -1)
    return table if side == 27 else np.ascontiguousarray(grid[::2, ::2].reshape(side * side, -1))


@pytest.mark.slow
def test_a_table_resized_by_another_method_is_detected(
    for_384: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision_model, "interpolate_positions", every_other_place)
    export(for_384, tmp_path, [16], [384, 196])
    report = compare_export(for_384, tmp_path, default_cases(), QUIET)
    found = {(row.resolution, row.case) for row in report.rows if row.problems}
    assert found == {(196, "wide"), (196, "tall"), (196, "square")}


def trained_at_196(world: World, at: Path) -> tuple[Path, ExportManifest]:
    """Train a tower for 384 pixels at 196; return the merged model and its export."""
    tower().save_pretrained(at / "siglip")
    shape = {**tower_shape(), "pretrained_image_size": 384}
    language_model = MODEL["language_model"]
    longer = {**language_model["config"], "max_position_embeddings": 512}
    recipe = model(
        *(world, {"projector": STAGE}),
        vision_tower={"weights": {"folder": str(at / "siglip")}, "config": shape},
        language_model={**language_model, "config": longer},
        image_size=196,
        max_length=512,
    )
    build_shapes(world, 6)
    corpus = open_mixture(world.data.mixture("small"))
    train(Run(recipe, world.manifests, [corpus], at / "run", max_steps=2, workers=0))
    merge(at / "run", at / "merged")
    return at / "merged", export(at / "merged", at / "out")


def tower_shape() -> dict[str, Any]:
    stated = vision_config().to_dict()
    return {name: stated[name] for name in MODEL["vision_tower"]["config"] if name in stated}


@pytest.mark.slow
def test_a_model_trained_at_196_is_exported_unchanged(world: World, tmp_path: Path) -> None:
    merged, bundle = trained_at_196(world, tmp_path)
    assert (bundle.trained_resolution, bundle.resolutions) == (196, [196])
    # The tower was frozen, so training used the interpolated table, which is exported.
    pretrained = tower().embeddings.position_embedding.weight.detach().numpy()
    assert np.abs(table_of(merged) - interpolate_positions(pretrained, 14)).max() < 1e-5
    shipped = exported_table(tmp_path / "out" / "vision-F16-196.gguf")
    assert np.array_equal(shipped, table_of(merged))
    report = compare_export(merged, tmp_path / "out", default_cases(), QUIET)
    assert report.passed, "\n".join(report.lines())
    assert image_tokens(tmp_path / "out", 196) == 196
