"""Read a model folder's config.json with the defaults of transformers' configuration classes."""

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from imp_data.errors import UserError
from imp_data.storage.json_files import read_json_object

_SAVE_AGAIN = "save the model again with save_pretrained"
# Fields taken from the file unchanged; LlavaConfig knows neither.
_CLASS_FIELDS = ("model_type", "auto_map")


def read_model_config(path: Path) -> dict[str, Any]:
    """Return the file's configuration with every default filled in.

    transformers omits the defaults of a nested configuration when it saves, and earlier versions
    use other names for some fields (`rope_theta`, `rope_scaling`).
    """
    stated = read_json_object(path, _SAVE_AGAIN)
    config = _with_defaults(path, stated)
    for name in _CLASS_FIELDS:
        config[name] = stated.get(name)
    if "tie_word_embeddings" not in stated.get("text_config", {}):
        # The field of Llava itself determines whether its head is the embedding.
        config["text_config"]["tie_word_embeddings"] = config["tie_word_embeddings"]
    return config


def _with_defaults(path: Path, stated: dict[str, Any]) -> dict[str, Any]:
    from transformers import LlavaConfig

    given = {name: value for name, value in stated.items() if name not in _CLASS_FIELDS}
    try:
        config: dict[str, Any] = LlavaConfig(**given).to_dict()
    except (StrictDataclassError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        problem = f"is not a valid configuration of Llava ({reason})"
        raise UserError(path, problem, _SAVE_AGAIN) from error
    return config
