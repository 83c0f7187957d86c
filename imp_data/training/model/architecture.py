"""Build the network of a Model from transformers' classes, random or pretrained."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerBase,
)
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from imp_data.errors import UserError
from imp_data.manifests.model import Model
from imp_data.manifests.model_parts import TextConfig
from imp_data.sample import IMAGE_TOKEN
from imp_data.training.model.modeling_imp import ImpConfig, ImpForConditionalGeneration
from imp_data.training.model.pretrained import (
    DECODERS,
    load_decoder,
    load_vision_tower,
    vision_config,
)

_STOCK = LlavaForConditionalGeneration

AutoConfig.register("imp", ImpConfig)
AutoModelForImageTextToText.register(ImpConfig, ImpForConditionalGeneration)
ImpConfig.register_for_auto_class()
ImpForConditionalGeneration.register_for_auto_class("AutoModelForImageTextToText")


def network_config(model: Model, tokenizer: PreTrainedTokenizerBase) -> LlavaConfig:
    """Return the network's configuration, equal to Imp's.

    It uses all features of the last layer but one (SigLIP has no class token), and a projector of
    two layers with erf GELU between.
    """
    text = _text_config(model, tokenizer)
    kind = ImpConfig if model.language_model.architecture == "phi" else LlavaConfig
    return kind(
        vision_config=vision_config(model, model.image_size),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=model.image_tokens,
        vision_feature_layer=-2,
        vision_feature_select_strategy="full",
        projector_hidden_act="gelu",
        tie_word_embeddings=False,
        pad_token_id=text.pad_token_id,
        eos_token_id=text.eos_token_id,
        bos_token_id=text.bos_token_id,
    )


def build_network(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> LlavaForConditionalGeneration:
    """Build the network: pretrained parts where the manifest names weights, random ones elsewhere.

    `tokenizer` must be prepared, with `<image>` and the template's special tokens. The projector,
    which is always trained, is float32; the other parts are `dtype`.
    """
    config = network_config(model, tokenizer)
    kind = ImpForConditionalGeneration if isinstance(config, ImpConfig) else _STOCK
    all_pretrained = model.language_model.weights and model.vision_tower.weights
    with _seeded(seed):
        with torch.device("meta") if all_pretrained else nullcontext():
            network = kind(config).to(dtype)
        # PyTorch's initialization of a Linear, as in the original and unlike transformers.
        network.model.multi_modal_projector = LlavaMultiModalProjector(config)
    if model.vision_tower.weights:
        network.model.vision_tower = load_vision_tower(model, dtype)
    if model.language_model.weights:
        loaded = load_decoder(model, config.text_config, dtype)
        network.model.language_model, network.lm_head = loaded.model, loaded.lm_head
    network.generation_config.update(
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
        bos_token_id=config.bos_token_id,
    )
    return network


def _text_config(model: Model, tokenizer: PreTrainedTokenizerBase) -> Any:
    stated = model.language_model.config
    decoder = DECODERS[model.language_model.architecture]
    rows = stated.vocab_size or len(tokenizer)
    if rows < len(tokenizer):
        raise UserError(
            f"{model.name}, language_model.config.vocab_size",
            f"{rows:,} rows are too few for the tokenizer's {len(tokenizer):,} tokens",
            "leave vocab_size out, or make it larger",
        )
    return decoder.config(
        vocab_size=rows,
        **_shape_fields(stated),
        **{decoder.norm: stated.norm_eps},
        hidden_act=decoder.activation,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _shape_fields(stated: TextConfig) -> dict[str, Any]:
    fields = stated.model_dump(
        exclude={"vocab_size", "norm_eps", "rope_theta", "partial_rotary_factor", "resid_pdrop"},
        exclude_none=True,
    )
    rope = {"rope_type": "default", "rope_theta": stated.rope_theta}
    rope["partial_rotary_factor"] = stated.partial_rotary_factor
    dropout = {"resid_pdrop": stated.resid_pdrop} if stated.resid_pdrop else {}
    heads = {"num_key_value_heads": stated.num_key_value_heads or stated.num_attention_heads}
    return {**fields, **heads, **dropout, "rope_parameters": rope}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed a separate random state, so that the weights do not depend on earlier random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
