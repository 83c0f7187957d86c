"""Tokenizers: what the templates add to one, and a tiny one trained on the spot."""

from collections.abc import Iterable
from typing import Any

from imp_data.errors import UserError
from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.chat_templates import Template

_END_OF_TEXT = "<|endoftext|>"


def prepared(tokenizer: Any, template: Template) -> Any:
    """The tokenizer with the template's tokens and `<image>`, which has the highest id.

    As train.py does it: phi2's `</s>` is added as the end (50295 in Phi-2's tokenizer), padding is
    the unknown token where the tokenizer has none of its own. Both stages of a model are prepared
    with the template of its chats, so that `<image>` has one id. Nothing is added twice: a prepared
    tokenizer comes back as it is.
    """
    from tokenizers import AddedToken

    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"tokenizer {tokenizer.name_or_path or type(tokenizer).__name__}",
            "does not tell which characters a token stands for",
            "name weights that come with a tokenizer.json",
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
        tokenizer.chat_template = begun(tokenizer, template.jinja)
    tokenizer.padding_side = "right"
    return tokenizer


def begun(tokenizer: Any, jinja: str) -> str:
    """The chat template with the token that the tokenizer begins every text with, if it has one.

    Who renders a chat and tokenizes the text (TRL, vLLM) adds no special tokens to it; processors
    of transformers add theirs only where the text does not begin with them already.
    """
    begins = tokenizer("")["input_ids"] == [tokenizer.bos_token_id]
    return _BEGINNING + jinja if begins and not jinja.startswith(_BEGINNING) else jinja


_BEGINNING = "{{- bos_token -}}"


def embedding_rows(tokenizer: Any, rows: int) -> int:
    """The rows an embedding needs: as many as it has, or the next multiple of 64 if too few.

    Phi-2's 51,200, Qwen1.5's 151,936 and Phi-3's 32,064 have room for what `prepared` adds.
    """
    return rows if len(tokenizer) <= rows else -(-len(tokenizer) // 64) * 64


def byte_level_bpe(texts: Iterable[str], vocabulary: int) -> Any:
    """A small tokenizer of GPT-2's kind, as Phi-2's is, trained on these texts."""
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
