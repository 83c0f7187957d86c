"""Save and load a trained model's folder: weights, tokenizer, processor, chat template, imp.json.

`AutoModelForImageTextToText.from_pretrained(folder)` loads it too; models on Phi-2 need
`trust_remote_code=True`, or an import of this module.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)

from imp_data.errors import UserError
from imp_data.images import rgb
from imp_data.manifests.model import Model
from imp_data.storage.atomic_write import json_text, write_atomically, write_text
from imp_data.storage.json_files import read_json_object
from imp_data.storage.replace_folder import check_not_moved
from imp_data.training.model import (
    architecture,  # noqa: F401 (registers its classes)
    image_processing_imp,
)
from imp_data.training.model.image_processing_imp import ImpImageProcessor
from imp_data.training.model.model_card import CARD, is_sealed
from imp_data.training.model.tokenizers import prepend_bos

FACTS = "imp.json"
# Names of files that transformers, peft and this package write to a model's or a stage's folder.
_OURS = re.compile(
    r"(imp|config|generation_config|processor_config|preprocessor_config|tokenizer"
    r"|tokenizer_config|special_tokens_map|added_tokens|vocab|adapter_config)\.json"
    r"|merges\.txt|tokenizer\.model|chat_template\.(jinja|json)|(\w+_imp|rgb)\.py"
    r"|(model|adapter_model)(-\d+-of-\d+)?\.(safetensors|bin)"
    r"|(model|adapter_model)\.(safetensors|bin)\.index\.json"
    r"|(projector|whole)\.safetensors"
)


def is_model_file(path: Path) -> bool:
    """Return whether this package wrote a file of a model's or a stage's folder, by its name."""
    if path.name == CARD:
        return path.is_file() and is_sealed(path)
    return _OURS.fullmatch(path.name) is not None


def save_model(
    network: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    model: Model,
    jinja: str,
    facts: Mapping[str, Any],
    folder: Path,
    card: str | None = None,
) -> None:
    """Write the folder atomically; imp.json gets `facts` too, and `card` becomes README.md."""
    with write_atomically(folder, FACTS, ours=is_model_file) as aside:
        network.save_pretrained(aside)
        save_processor(model, tokenizer, jinja, aside)
        if card is not None:
            write_text(aside / CARD, card)
        write_text(aside / FACTS, json_text({**model_facts(model), **facts}))


def model_facts(model: Model) -> dict[str, Any]:
    """Return the facts that inference needs: architecture, template and image preprocessing."""
    return {
        "name": model.name,
        "title": model.title,
        "license": model.license,
        "architecture": model.language_model.architecture,
        "template": model.template,
        "image_size": model.image_size,
        "image_tokens": model.image_tokens,
        "preprocessing": model.image_preprocessing,
        "max_length": model.max_length,
    }


def save_processor(
    model: Model, tokenizer: PreTrainedTokenizerBase, jinja: str, folder: Path
) -> None:
    """Write the processor, and the code that it needs without imp-data."""
    make_processor(model, tokenizer, jinja).save_pretrained(folder)
    code = Path(image_processing_imp.__file__).read_text(encoding="utf-8")
    alone = code.replace(f"from {rgb.__name__} import", "from .rgb import")
    write_text(folder / Path(image_processing_imp.__file__).name, alone)
    write_text(folder / "rgb.py", Path(rgb.__file__).read_text(encoding="utf-8"))


def make_processor(model: Model, tokenizer: PreTrainedTokenizerBase, jinja: str) -> LlavaProcessor:
    """Return transformers' processor for the model's images and chats."""
    return LlavaProcessor(
        image_processor=_image_processor(model),
        tokenizer=tokenizer,
        patch_size=model.vision_tower.config.patch_size,
        vision_feature_select_strategy="full",
        chat_template=prepend_bos(tokenizer, jinja),
    )


def _image_processor(model: Model) -> Any:
    processor = ImpImageProcessor(
        do_pad=model.image_preprocessing == "pad",  # with the mean as padding
        do_center_crop=False,
        size={"height": model.image_size, "width": model.image_size},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    # Set here, since transformers copies a class's file to the folder, but not its imports.
    processor.auto_map = {"AutoImageProcessor": "image_processing_imp.ImpImageProcessor"}
    return processor


def load_network(folder: Path, dtype: torch.dtype = torch.float32) -> LlavaForConditionalGeneration:
    """Load the network of a merged model's folder."""
    read_facts(folder)
    with _load_errors(folder):
        return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)


def load_processor(folder: Path) -> LlavaProcessor:
    """Load the processor of a merged model's folder."""
    read_facts(folder)
    with _load_errors(folder):
        return AutoProcessor.from_pretrained(folder, backend="pil")


@contextmanager
def _load_errors(folder: Path) -> Iterator[None]:
    """Raise UserError if transformers misses a file of the folder, or cannot read it."""
    try:
        yield
    except OSError as error:
        why = " ".join(str(error).split()).partition(". ")[0]
        raise UserError(folder, f"cannot be loaded ({why})", "merge the run again") from error


def read_facts(folder: Path) -> dict[str, Any]:
    """Read imp.json. Raise UserError if the folder holds no model of this package."""
    path = folder / FACTS
    if not path.exists():
        check_not_moved(folder)
        remedy = "name a folder that `imp-data merge` wrote"
        raise UserError(folder, f"holds no model (no {FACTS})", remedy)
    return read_json_object(path, "merge the run again")
