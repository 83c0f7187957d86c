"""The model card: README.md of the weights, rendered from the facts of the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from imp_data.manifests.model import Model
from imp_data.storage.digests import text_digest

CARD = "README.md"
# The last line of a card, with a digest of the rest, to detect a card that a person edited.
_SEAL = "\n<!-- written by imp-data, sealed: "

# The Hub's base_model_relation: "adapter" for a stage's weights, to be added to the base model's,
# "finetune" for a complete model.
Relation = Literal["adapter", "finetune"]


def is_sealed(path: Path) -> bool:
    """Return whether a card is unchanged since it was written."""
    text = path.read_bytes().decode(errors="replace")
    return text == _sealed(text.rpartition(_SEAL)[0])


def _sealed(text: str) -> str:
    return f"{text}{_SEAL}{text_digest(text)[:16]} -->\n"


def model_card(model: Model, facts: Mapping[str, Any], relation: Relation) -> str:
    """Return the card's text; `facts` is the stage's imp.json."""
    template = Environment(
        loader=PackageLoader("imp_data"), undefined=StrictUndefined, keep_trailing_newline=True
    ).get_template("model.md.j2")
    stage = dict(model.planned)[facts["stage"]]
    metadata = _metadata(model, facts, relation)
    text = template.render(
        m=model,
        facts=facts,
        stage=stage,
        whole=relation == "finetune",
        metadata=yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True),
        bases=_bases(model),
        paper_url=model.paper and f"https://arxiv.org/abs/{model.paper.removeprefix('arXiv:')}",
        remote_code=model.language_model.architecture == "phi",
    )
    return _sealed(text)


def _metadata(model: Model, facts: Mapping[str, Any], relation: Relation) -> dict[str, Any]:
    """Return the card's metadata for the Hub."""
    bases = [w.hub for _, w in _bases(model) if w.hub]
    adapter_library = "peft" if dict(model.planned)[facts["stage"]].lora else None
    library = "transformers" if relation == "finetune" else adapter_library
    found = {
        "license": model.license.lower(),
        "license_name": model.license_name,
        "license_link": model.license_link,
        "language": list(model.language),
        "datasets": list(facts.get("datasets", ())),
        "pipeline_tag": "image-text-to-text",
        "library_name": library,
        "tags": ["vision-language-model", "llava", "imp", model.language_model.architecture],
        "base_model": bases,
        "base_model_relation": relation if bases else None,
    }
    return {name: value for name, value in found.items() if value}


def _bases(model: Model) -> list[tuple[str, Any]]:
    parts = [
        ("language model", model.language_model.weights),
        ("vision tower", model.vision_tower.weights),
    ]
    return [(name, weights) for name, weights in parts if weights]
