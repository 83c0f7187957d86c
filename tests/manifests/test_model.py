"""Manifests of models: hyperparameters of the recipe, and errors that name file, line and field."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from training_world import LORA, MODEL, STAGE, STAGES

from imp_data.errors import UserError
from imp_data.manifests.json_schemas import schema_text
from imp_data.manifests.model import LORA_TARGETS, Model, load_model

MANIFESTS = Path(__file__).parents[2] / "manifests" / "models"
FAMILY = ["imp-2b", "imp-3b", "imp-4b"]
DOCUMENT: dict[str, Any] = {**MODEL, "stages": STAGES}


def changed(place: str, value: Any) -> dict[str, Any]:
    """Return the document with another value at a dotted path; without it if it is ..."""
    document: Any = copy.deepcopy(DOCUMENT)
    *steps, last = place.split(".")
    inner = document
    for step in steps:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return document


def written(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


# --- the recipe -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
def test_the_hyperparameters_are_those_of_the_original_scripts(name: str) -> None:
    model = load_model(MANIFESTS / f"{name}.yaml")
    first, second = model.stages.projector, model.stages.adapter
    assert first is not None and second is not None
    assert second.lora is not None
    # scripts/finetune_lora.sh and train.py
    assert (second.lora.r, second.lora.alpha, second.lora.dropout) == (256, 256, 0.05)
    assert set(second.lora.targets) == LORA_TARGETS[model.language_model.architecture]
    assert (second.learning_rate, second.projector_learning_rate) == (2e-4, 2e-5)
    assert (second.epochs, second.global_batch, second.per_device_batch) == (2, 128, 4)
    assert (second.trains, second.gradient_checkpointing) == (("projector",), True)
    # scripts/pretrain.sh
    assert (first.learning_rate, first.epochs, first.global_batch) == (1e-3, 1, 256)
    assert (first.template, first.trains, first.lora) == ("plain", ("projector",), None)
    # Trainer and DeepSpeed average the token means of what a device takes at once.
    assert (first.loss_weighting, first.micro_batch_size) == ("micro_batch", 32)
    assert (second.loss_weighting, second.micro_batch_size) == ("micro_batch", 4)
    for stage in (first, second):
        # scripts/zero2.json and zero3.json name no gradient_clipping: DeepSpeed clips nothing.
        assert (stage.warmup_ratio, stage.weight_decay, stage.max_grad_norm) == (0.03, 0, None)
        assert stage.precision == "fp16"
    assert (model.image_size, model.image_tokens, model.max_length) == (384, 729, 3072)
    assert model.image_preprocessing == "square"


@pytest.mark.parametrize("name", FAMILY)
def test_changing_one_line_restores_the_original_sampler(name: str, tmp_path: Path) -> None:
    path = MANIFESTS / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    adapter = load_model(path).stages.adapter
    assert adapter is not None and adapter.sampler == "packed"
    assert text.count("\n    sampler: packed\n") == 1
    (tmp_path / path.name).write_text(text.replace("sampler: packed", "sampler: modality_length"))
    original = load_model(tmp_path / path.name).stages.adapter
    assert original == adapter.model_copy(update={"sampler": "modality_length"})


@pytest.mark.parametrize(
    ("name", "architecture", "template", "hidden", "layers", "rows"),
    [
        ("imp-2b", "qwen2", "qwen", 2048, 24, 151936),
        ("imp-3b", "phi", "phi2", 2560, 32, 51200),
        ("imp-4b", "phi3", "phi3", 3072, 32, 32064),
    ],
)
def test_the_family_uses_three_language_models(
    name: str, architecture: str, template: str, hidden: int, layers: int, rows: int
) -> None:
    model = load_model(MANIFESTS / f"{name}.yaml")
    language = model.language_model
    assert (language.architecture, model.template) == (architecture, template)
    config = language.config
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (
        hidden,
        layers,
        rows,
    )
    for weights in (language.weights, model.vision_tower.weights):
        assert weights is not None and weights.revision is not None


def test_images_of_196_pixels_are_196_tokens() -> None:
    document = yaml.safe_load((MANIFESTS / "imp-3b.yaml").read_text(encoding="utf-8"))
    smaller = {**document, "image_size": 196}
    assert Model.model_validate_json(json.dumps(smaller), strict=True).image_tokens == 196


@pytest.mark.parametrize("name", [*FAMILY, "imp-tiny"])
def test_every_hyperparameter_of_a_stage_is_explicit(name: str) -> None:
    text = (MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8")
    for stage in yaml.safe_load(text)["stages"].values():
        assert {"epochs", "global_batch", "learning_rate", "warmup_ratio", "seed"} <= set(stage)


# --- errors and their positions -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("stages.adapter.learning_rte", 0.1),  # a misspelt field
        ("stages.adapter.lora.rank", 8),
        ("language_model.config.heads", 4),
        ("stages.adapter.learning_rate", "fast"),  # a wrong type
        ("stages.adapter.epochs", 1.5),
        ("stages.adapter.gradient_checkpointing", "yes"),
        ("stages.adapter.learning_rate", 2),  # out of range
        ("stages.adapter.lora.r", 0),
        ("stages.adapter.lora.dropout", 1.0),
        ("vision_tower.config.num_hidden_layers", 1),
        ("tokenizer.vocab_size", 256),
        ("stages.projector.precision", "fp8"),  # not one of the accepted words
        ("stages.projector.sampler", "by_length"),
        ("language_model.architecture", "llama"),
        ("image_preprocessing", "crop"),
        ("stages.adapter.warmup_ratio", ...),  # a figure left out
        ("stages.adapter.seed", ...),
        ("template", ...),
        ("stages.adapter.max_grad_norm", 0),
        ("stages.adapter.max_grad_norm", "never"),
        ("stages.adapter.loss_weighting", "sample"),
        ("stages.adapter.micro_batch_size", 0),
    ],
)
def test_a_wrong_value_names_file_line_and_field(place: str, value: Any, tmp_path: Path) -> None:
    document = changed(place, value)
    path = written(tmp_path, document)
    with pytest.raises(UserError) as error:
        load_model(path)
    assert error.value.where == str(path)
    first = error.value.problem.split(";")[0]
    assert f", {place}: " in first
    line = path.read_text().splitlines()[int(first.split()[1].rstrip(",")) - 1]
    # For a field that is left out, the position is that of its parent.
    steps = place.split(".")
    said = (
        steps[-1] if value is not ... else (steps[-2] if len(steps) > 1 else "image_preprocessing")
    )
    assert line.strip().startswith(f"{said}:")
    schema = Draft202012Validator(json.loads(schema_text("model")))
    assert not schema.is_valid(document)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            "stages.adapter.per_device_batch",
            3,
            "global_batch: is not a multiple of per_device_batch",
        ),
        (
            "stages.adapter.micro_batch_size",
            2,
            "micro_batch_size: belongs to loss_weighting micro_batch, which requires it",
        ),
        (
            "stages.adapter.loss_weighting",
            "micro_batch",
            "micro_batch_size: belongs to loss_weighting micro_batch, which requires it",
        ),
        (
            "stages.projector.because",
            ...,
            "because: say why `trains` names more than the projector",
        ),
        (
            "stages.adapter.lora.targets",
            ["o_proj"],
            "o_proj is not a Linear of phi; it has dense, fc1",
        ),
        ("stages.projector.lora", LORA, "lora: adapts a language model that `trains` already"),
        ("tokenizer", ..., "tokenizer: is required for a language model without weights"),
        ("max_length", 4, "max_length: the image alone takes 4 tokens"),
        ("stages", {}, "stages: at least one is required"),
        ("language_model.weights", {"hub": "a/b"}, "`hub` and `revision` go together"),
        ("language_model.weights", {}, "give either `hub` with its `revision`, or `folder`"),
        ("language_model.config.num_attention_heads", 3, "hidden_size: is not a multiple"),
        ("language_model.config.sliding_window", 8, "only the architecture phi3 has it"),
    ],
)
def test_contradictory_fields_are_an_error(
    place: str, value: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        load_model(written(tmp_path, changed(place, value)))
    assert said in error.value.problem


@pytest.mark.parametrize(("said", "meant"), [("none", None), (None, None), (0.5, 0.5)])
def test_clipping_can_be_left_out(said: Any, meant: float | None, tmp_path: Path) -> None:
    document = changed("stages.adapter.max_grad_norm", said)
    assert Draft202012Validator(json.loads(schema_text("model"))).is_valid(document)
    adapter = load_model(written(tmp_path, document)).stages.adapter
    assert adapter is not None and adapter.max_grad_norm == meant


def test_only_another_license_has_a_name_and_a_link(tmp_path: Path) -> None:
    named = {"license_name": "some-research", "license_link": "https://example.org/licence"}
    model = load_model(written(tmp_path, {**DOCUMENT, "license": "other", **named}))
    assert (model.license_name, model.license_link) == tuple(named.values())
    with pytest.raises(UserError, match="belong to `license: other`"):
        load_model(written(tmp_path, {**DOCUMENT, **named}))


def test_a_global_batch_must_be_a_multiple_of_the_micro_batch(tmp_path: Path) -> None:
    document = changed("stages.adapter.micro_batch_size", 3)
    document["stages"]["adapter"]["loss_weighting"] = "micro_batch"
    with pytest.raises(UserError, match="global_batch: is not a multiple of micro_batch_size"):
        load_model(written(tmp_path, document))


def test_the_unchanged_document_is_valid(tmp_path: Path) -> None:
    model = load_model(written(tmp_path, DOCUMENT))
    assert [name for name, _ in model.planned] == ["projector", "adapter"]
    assert model.stages.projector is not None
    assert model.stages.projector.global_batch == STAGE["global_batch"]
