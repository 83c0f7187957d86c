"""The chat template of a model folder, in whichever file transformers has put it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.storage.json_files import json_object
from imp_data.storage.small_files import small_text

# transformers' own tags around what is learned; to Jinja elsewhere they are unknown. What goes with
# a tag is the whitespace that Jinja strips beside it, and the newline after a block.
_GENERATION = re.compile(r"(?:\s*\{%-|\{%)\s*(?:end)?generation\s*(?:-%\}\s*|%\}\n?)")

_MOST_BYTES = 16 << 20
_SAVE_AGAIN = "save the tokenizer again beside the model"


def chat_template(folder: Path) -> str:
    """The chat template that the folder carries, as the Jinja that llama.cpp reads.

    The token that begins a text is left out: llama.cpp adds it, as the vocabulary says.
    """
    return _GENERATION.sub("", read_stored_chat_template(folder).removeprefix("{{- bos_token -}}"))


def read_stored_chat_template(folder: Path) -> str:
    """The same as it is stored.

    transformers writes chat_template.jinja today; before, a processor wrote chat_template.json and
    a tokenizer a field of tokenizer_config.json. Of several the newest kind counts.
    """
    for found in _templates(folder):
        if isinstance(found, str):
            return found
    remedy = "save the tokenizer with its chat_template, so that the phone asks as in training"
    raise UserError(folder, "has no chat template", remedy)


def read_optional_json(path: Path) -> dict[str, Any]:
    """A JSON file's object; an empty one where there is no such file."""
    return json_object(path, _SAVE_AGAIN) if path.exists() else {}


def _templates(folder: Path) -> Iterator[Any]:
    jinja = folder / "chat_template.jinja"
    yield small_text(jinja, _MOST_BYTES, _SAVE_AGAIN) if jinja.exists() else None
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        yield _default(read_optional_json(folder / name).get("chat_template"))


def _default(found: Any) -> Any:
    """Of several templates, by name or in a list, the one that is called default."""
    if isinstance(found, list):
        found = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
    return found.get("default") if isinstance(found, dict) else found
