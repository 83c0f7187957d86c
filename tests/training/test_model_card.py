"""The model card: its metadata for the Hub, and the adapter's base model for peft."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World, record, run
from peft import LoraConfig

from imp_data.manifests.model import Model, load_model
from imp_data.mixture.mixture_json import manifest_digest
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.mixture_input import hub_datasets, open_mixture
from imp_data.training.model.model_card import model_card
from imp_data.training.model.stage_output import write_stage_output
from tests.training.test_encoding import tokenizer

MODELS = Path(__file__).parents[2] / "manifests" / "models"
FACTS: dict[str, Any] = {
    "mixture": {"name": "imp_1m", "rows": 5, "digest": "d"},
    "datasets": ["FreedomIntelligence/ALLaVA-4V", "liuhaotian/LLaVA-Instruct-150K"],
    "stage": "adapter",
    "steps": 1,
    "loss": 1.0,
}


def metadata(name: str, relation: Any, facts: dict[str, Any] = FACTS) -> dict[str, Any]:
    """Return a card's front matter."""
    _, head, _ = model_card(load_model(MODELS / f"{name}.yaml"), facts, relation).split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    return found


def test_a_merged_models_card_has_the_hubs_metadata() -> None:
    assert metadata("imp-2b", "finetune") == {
        "license": "other",
        "license_name": "tongyi-qianwen-research",
        "license_link": "https://huggingface.co/Qwen/Qwen1.5-1.8B/blob/main/LICENSE",
        "language": ["en"],
        "datasets": ["FreedomIntelligence/ALLaVA-4V", "liuhaotian/LLaVA-Instruct-150K"],
        "pipeline_tag": "image-text-to-text",
        "library_name": "transformers",
        "tags": ["vision-language-model", "llava", "imp", "qwen2"],
        "base_model": ["Qwen/Qwen1.5-1.8B", "google/siglip-so400m-patch14-384"],
        "base_model_relation": "finetune",
    }


def test_an_adapters_card_has_the_relation_adapter() -> None:
    found = metadata("imp-3b", "adapter")
    assert (found["base_model_relation"], found["library_name"]) == ("adapter", "peft")
    assert found["license"] == "apache-2.0" and "license_name" not in found
    projector = metadata("imp-3b", "adapter", {**FACTS, "stage": "projector"})
    assert projector["base_model_relation"] == "adapter" and "library_name" not in projector


def test_a_card_explains_the_use_of_its_folder() -> None:
    model = load_model(MODELS / "imp-2b.yaml")
    whole, beside = (model_card(model, FACTS, kind) for kind in ("finetune", "adapter"))
    assert "AutoModelForImageTextToText.from_pretrained" in whole
    assert "AutoModel" not in beside and "imp-data merge . -o merged" in beside
    link = "[tongyi-qianwen-research](https://huggingface.co/Qwen/Qwen1.5-1.8B/blob/main/LICENSE)"
    assert all(f"## Licence\n\n{link} for these weights." in text for text in (whole, beside))


def test_a_randomly_initialized_model_has_no_base_model() -> None:
    found = metadata("imp-tiny", "finetune", {**FACTS, "datasets": []})
    assert {"base_model", "base_model_relation", "datasets"}.isdisjoint(found)


@pytest.fixture
def published(world: World) -> World:
    """Build a mixture of sources: on the Hub, downloaded from it, neither, without samples."""
    hub = "https://huggingface.co/datasets"
    world.source("a", [record(1)], homepage=f"{hub}/some/answers")
    url = f"{hub}/other/words.v1/resolve/{'0' * 40}/records.json"
    file = {"path": "records.json", "url": url}
    world.source("b", [record(2)], homepage="https://words.example.org", files=[file])
    world.source("c", [record(3)])
    world.source("d", [record(4, answer=" ")], homepage=f"{hub}/all/refused")
    run(world.build({"a": 1, "b": 1, "c": 1, "d": 1}))
    return world


def test_datasets_are_the_sources_with_samples(published: World) -> None:
    mixture = open_mixture(published.data.mixture("small"))
    assert hub_datasets(mixture, published.manifests) == ["other/words.v1", "some/answers"]
    # Without the manifests, only mixture.json is known.
    assert hub_datasets(mixture, published.manifests / "none") == ["some/answers"]


def test_the_demos_drawn_sources_name_no_dataset(published: World) -> None:
    path = published.data.mixture("small") / "mixture.json"
    manifest = {**orjson.loads(path.read_bytes()), "drawn": True}
    path.write_bytes(orjson.dumps({**manifest, "digest": manifest_digest(manifest)}))
    assert hub_datasets(open_mixture(path.parent), published.manifests) == []


@pytest.mark.parametrize(
    ("weights", "base", "revision"),
    [
        ({"hub": "microsoft/phi-2", "revision": "0" * 40}, "microsoft/phi-2", "0" * 40),
        ({"folder": "weights/phi-2"}, "weights/phi-2", None),
        (None, None, None),
    ],
)
def test_an_adapter_names_its_base_model(
    weights: dict[str, str] | None, base: str | None, revision: str | None, tmp_path: Path
) -> None:
    stated = load_model(MODELS / "imp-3b.yaml").model_dump()
    stated["language_model"]["weights"] = weights
    stated["tokenizer"] = None if weights else {"vocab_size": 300}
    model = Model.model_validate(stated)
    projector = {"model.multi_modal_projector.linear_1.bias": torch.zeros(1)}
    jinja = TEMPLATES[model.template].jinja
    write_stage_output(tmp_path / "o", model, "adapter", tokenizer("phi2"), jinja, projector, FACTS)
    config = LoraConfig.from_pretrained(tmp_path / "o")
    assert (config.base_model_name_or_path, config.revision) == (base, revision)
    assert (config.task_type, config.inference_mode, config.r) == ("CAUSAL_LM", True, 256)
