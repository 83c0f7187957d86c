"""Merge LoRA into the weights of a run, into a folder that transformers loads."""

from pathlib import Path
from typing import Any

import torch

from imp_data.errors import UserError
from imp_data.training.model.model_card import model_card
from imp_data.training.model.model_folder import FACTS, save_model
from imp_data.training.model.stage_output import RestoredModel, restore_model

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def merge(run: Path, out: Path, precision: str | None = None) -> dict[str, Any]:
    """Write the merged model of a run (its folder, or the folder of one stage); return its facts.

    Merge in float32 and write in `precision`, by default the stage's.
    """
    folder = stage_folder(run)
    restored = restore_model(folder)
    jinja = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    stage = dict(restored.model.planned)[restored.facts["stage"]]
    network = restored.merged().to(DTYPES[precision or stage.precision])
    facts = _facts(restored)
    card = model_card(restored.model, {**restored.facts, **facts}, "finetune")
    save_model(network, restored.tokenizer, restored.model, jinja, facts, out, card)
    return facts


def stage_folder(run: Path) -> Path:
    """Return the folder of the last finished stage of a run."""
    for folder in (
        run,
        run / "adapter" / "outcome",
        run / "projector" / "outcome",
        run / "outcome",
    ):
        if (folder / FACTS).is_file():
            return folder
    raise UserError(
        run, "holds no finished stage", "name the --out folder of a finished `imp-data train`"
    )


def _facts(restored: RestoredModel) -> dict[str, Any]:
    kept = ("mixture", "datasets", "stage", "steps", "loss", "versions")
    return {name: restored.facts[name] for name in kept if name in restored.facts}
