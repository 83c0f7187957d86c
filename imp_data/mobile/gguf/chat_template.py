"""Read the chat template of a model folder from any file in which transformers stores it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.storage.json_files import read_json_object
from imp_data.storage.small_files import read_small_text

# transformers' own tags around the assistant's text, unknown to other Jinja implementations. The
# pattern includes the whitespace that Jinja strips beside a tag, and the newline after a block.
_GENERATION = re.compile(r"(?:\s*\{%-|\{%)\s*(?:end)?generation\s*(?:-%\}\s*|%\}\n?)")

_MOST_BYTES = 16 << 20
_SAVE_AGAIN = "save the tokenizer again beside the model"


def read_chat_template(folder: Path) -> str:
    """Return the folder's chat template as Jinja that llama.cpp can read.

    The BOS token is left out: llama.cpp adds it by the vocabulary's settings.
    """
    return _GENERATION.sub("", read_stored_chat_template(folder).removeprefix("{{- bos_token -}}"))


def read_stored_chat_template(folder: Path) -> str:
    """Return the folder's chat template as it is stored.

    transformers now writes chat_template.jinja; earlier, a processor wrote chat_template.json and
    a tokenizer a field of tokenizer_config.json. The newest kind takes precedence.
    """
    for template in _templates(folder):
        if isinstance(template, str):
            return template
    remedy = "save the tokenizer with its chat_template, so that prompts are those of training"
    raise UserError(folder, "has no chat template", remedy)


def read_optional_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty one if the file does not exist."""
    return read_json_object(path, _SAVE_AGAIN) if path.exists() else {}


def _templates(folder: Path) -> Iterator[Any]:
    jinja = folder / "chat_template.jinja"
    yield read_small_text(jinja, _MOST_BYTES, _SAVE_AGAIN) if jinja.exists() else None
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        yield _default_template(read_optional_json(folder / name).get("chat_template"))


def _default_template(value: Any) -> Any:
    """Return the template named default if there are several, in a list or by name."""
    if isinstance(value, list):
        value = {one.get("name"): one.get("template") for one in value if isinstance(one, dict)}
    return value.get("default") if isinstance(value, dict) else value
