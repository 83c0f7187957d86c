"""Prepare a tokenizer for a chat template, or train a small one."""

from collections.abc import Iterable
from typing import Any

from imp_data.errors import UserError
from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.chat_templates import Template

_END_OF_TEXT = "<|endoftext|>"


def prepare_tokenizer(tokenizer: Any, template: Template) -> Any:
    """Add the template's special tokens and `<image>`, which gets the highest id; return it.

    As in train.py, phi2's `</s>` is added as the end token (50295 in Phi-2's tokenizer), and the
    unknown token is the padding token if the tokenizer has none. Both stages of a model use the
    template of its chats, so that `<image>` has one id. A prepared tokenizer stays unchanged.
    """
    from tokenizers import AddedToken

    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"tokenizer {tokenizer.name_or_path or type(tokenizer).__name__}",
            "has no offset mapping, since it is not a fast tokenizer",
            "name weights that have a tokenizer.json",
        )
    known = tokenizer.get_added_vocab()
    missing = [t for t in template.special if t not in known] + [IMAGE_TOKEN] * (
        IMAGE_TOKEN not in known
    )
    tokenizer.add_tokens(
        [AddedToken(text, special=True, normalized=False) for text in missing], special_tokens=True
    )
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.unk_token or tokenizer.eos_token
    if template.special:
        tokenizer.eos_token = template.stop
        tokenizer.chat_template = prepend_bos(tokenizer, template.jinja)
    tokenizer.padding_side = "right"
    return tokenizer


def load_cached_tokenizer(name: str, revision: str | None, template: Template) -> Any:
    """Load a tokenizer from a folder, or from the cache of the Hub, and prepare it for a template.

    Raise UserError if it is in neither, or if transformers is not installed.
    """
    where = f"tokenizer {name}"
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        problem = f"needs a package that is not installed ({error})"
        raise UserError(where, problem, "pip install 'imp-data[train]'") from None
    try:
        found = AutoTokenizer.from_pretrained(
            name, revision=revision or "main", local_files_only=True
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"cannot be loaded ({str(error).strip().splitlines()[0]})"
        remedy = (
            "name a folder with tokenizer.json, or put the tokenizer into the cache of the Hub: hf "
            f"download {name} --include '*token*' '*.json'"
        )
        raise UserError(where, problem, remedy) from None
    return prepare_tokenizer(found, template)


def prepend_bos(tokenizer: Any, jinja: str) -> str:
    """Return the chat template, with bos_token in front if the tokenizer adds it to every text.

    TRL and vLLM tokenize a rendered chat without adding special tokens; transformers' processors
    add bos_token only if the text does not begin with it.
    """
    begins = tokenizer("")["input_ids"] == [tokenizer.bos_token_id]
    return _BEGINNING + jinja if begins and not jinja.startswith(_BEGINNING) else jinja


_BEGINNING = "{{- bos_token -}}"


def byte_level_bpe(texts: Iterable[str], vocabulary: int) -> Any:
    """Train a small byte-level BPE tokenizer, GPT-2's and Phi-2's kind, on these texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=_END_OF_TEXT,
        eos_token=_END_OF_TEXT,
        unk_token=_END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )
