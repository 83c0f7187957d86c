"""A model folder's config.json as transformers reads it: what it leaves out has its default."""

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from imp_data.errors import UserError
from imp_data.storage.json_files import json_object

_SAVE_AGAIN = "save the model again with save_pretrained"
# Of these the folder's own word counts; LlavaConfig knows neither.
_OF_THE_CLASS = ("model_type", "auto_map")


def read_model_config(path: Path) -> dict[str, Any]:
    """The file with every default of transformers' configuration classes written out.

    transformers itself leaves out of a nested configuration what its class has by default, and
    names some fields otherwise in earlier versions (`rope_theta`, `rope_scaling`).
    """
    stated = json_object(path, _SAVE_AGAIN)
    found = _with_defaults(path, stated)
    for name in _OF_THE_CLASS:
        found[name] = stated.get(name)
    if "tie_word_embeddings" not in stated.get("text_config", {}):
        # Llava's own says whether its head is the embedding.
        found["text_config"]["tie_word_embeddings"] = found["tie_word_embeddings"]
    return found


def _with_defaults(path: Path, stated: dict[str, Any]) -> dict[str, Any]:
    from transformers import LlavaConfig

    given = {name: value for name, value in stated.items() if name not in _OF_THE_CLASS}
    try:
        found: dict[str, Any] = LlavaConfig(**given).to_dict()
    except (StrictDataclassError, AttributeError, KeyError, TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise UserError(path, f"is no configuration of Llava ({told})", _SAVE_AGAIN) from error
    return found
