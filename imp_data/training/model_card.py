"""The model card: README.md beside the weights, from what is known of the run alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from imp_data.recipes import Model
from imp_data.store import write_text


def write_model_card(folder: Path, model: Model, facts: Mapping[str, Any]) -> None:
    """Write README.md."""
    write_text(folder / "README.md", model_card(model, facts))


def model_card(model: Model, facts: Mapping[str, Any]) -> str:
    """The card's text; `facts` is imp.json of the stage."""
    template = Environment(
        loader=PackageLoader("imp_data"), undefined=StrictUndefined, keep_trailing_newline=True
    ).get_template("model.md.j2")
    stage = dict(model.planned)[facts["stage"]]
    return template.render(
        m=model,
        facts=facts,
        stage=stage,
        metadata=yaml.safe_dump(_metadata(model), sort_keys=False, allow_unicode=True),
        bases=_bases(model),
        paper_url=model.paper and f"https://arxiv.org/abs/{model.paper.removeprefix('arXiv:')}",
        remote_code=model.language_model.architecture == "phi",
    )


def _metadata(model: Model) -> dict[str, Any]:
    """The card's YAML as the Hub reads it."""
    bases = [w.hub for _, w in _bases(model) if w.hub]
    return {
        "license": model.license.lower(),
        "pipeline_tag": "image-text-to-text",
        "library_name": "transformers",
        "tags": ["vision-language-model", "llava", "imp", model.language_model.architecture],
        **({"base_model": bases} if bases else {}),
    }


def _bases(model: Model) -> list[tuple[str, Any]]:
    parts = [
        ("language model", model.language_model.weights),
        ("vision tower", model.vision_tower.weights),
    ]
    return [(name, weights) for name, weights in parts if weights]
