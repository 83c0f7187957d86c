"""Tiny models in the trainer's saved format: real architectures and tokenizers, random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import nn
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    Phi3Config,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

# Other tests run in parallel: more threads per test would slow all of them down.
torch.set_num_threads(1)

SIZE = 56
VOCABULARY = 384
SAYS = [
    "What is in the image? A red circle, a blue square and a green triangle.",
    "A chat between a curious user and an artificial intelligence assistant.",
    "How many are there? There are two. Where is it? USER: ASSISTANT: left of the tree",
]
PHI2_CHAT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {{ m['content'] }} ASSISTANT:"
    "{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
IM_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PHI3_CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SHARED = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 1024,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
TEXTS: dict[str, Any] = {
    "phi": lambda: PhiConfig(**SHARED, intermediate_size=256, partial_rotary_factor=0.4),
    "qwen2": lambda: Qwen2Config(**SHARED, intermediate_size=160, num_key_value_heads=2),
    "phi3": lambda: Phi3Config(**SHARED, intermediate_size=160, num_key_value_heads=2),
}


class ImpModel(LlavaForConditionalGeneration):
    """Llava with the bias of Phi-2's head, as the trainer builds it."""

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__(config)
        text = config.text_config
        if text.model_type == "phi":
            self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=True)


def vision_config(**changes: Any) -> SiglipVisionConfig:
    stated: dict[str, Any] = {
        "hidden_size": 64,
        # Not a multiple of 32, like SigLIP's 4304.
        "intermediate_size": 112,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": 14,
        "hidden_act": "gelu_pytorch_tanh",
        "vision_use_head": False,
    }
    return SiglipVisionConfig(**{**stated, **changes})


def random_model(
    kind: str, stock: bool = False, image_size: int = SIZE, **changes: Any
) -> LlavaForConditionalGeneration:
    """Return a model whose every tensor has an effect: random biases and norms, large features."""
    text, vision = TEXTS[kind](), vision_config(image_size=image_size)
    side = image_size // 14
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        vision_feature_layer=-2,
        vision_feature_select_strategy="full",
        projector_hidden_act="gelu",
        image_seq_length=side * side,
        image_token_index=VOCABULARY - 1,
        tie_word_embeddings=False,
        **changes,
    )
    torch.manual_seed(7)
    model = (LlavaForConditionalGeneration if stock else ImpModel)(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            spread = 0.02 if tensor.ndim == 1 and "norm" in name else 0.15
            noise = torch.randn_like(tensor) * spread
            tensor.copy_(1 + noise if "norm" in name and name.endswith("weight") else noise)
    return model.eval()


def byte_level_tokenizer(chat: str = PHI2_CHAT) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer like GPT-2's; <image> is the embedding's last row.

    It has only ASCII bytes, so that every token of a random answer is a complete character.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "</s>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 10,
        special_tokens=special,
        initial_alphabet=[chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SAYS, trainer)
    # Like Phi-2's, whose added tokens leave rows of the embedding unused.
    while tokenizer.get_vocab_size() < VOCABULARY - 1:
        tokenizer.add_tokens([f"<extra_{tokenizer.get_vocab_size()}>"])
    tokenizer.add_special_tokens([AddedToken("<image>", special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        chat_template=chat,
    )


def piece_tokenizer() -> PreTrainedTokenizerFast:
    """Return a BPE tokenizer like Phi-3's, with ▁ and byte fallback.

    Special tokens strip the following blanks, and a text begins with <s>.
    """
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trained.train_from_iterator(SAYS, trainers.BpeTrainer(vocab_size=100, show_progress=False))
    stated = json.loads(trained.to_str())
    special = ["<unk>", "<s>", "</s>", "<|endoftext|>"]
    first = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = sorted(stated["model"]["vocab"], key=lambda piece: stated["model"]["vocab"][piece])
    vocabulary = dict.fromkeys([*first, *pieces])
    stated["model"]["vocab"] = {piece: number for number, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer.from_str(json.dumps(stated))
    tokenizer.add_special_tokens(special)
    for text in ("<|user|>", "<|assistant|>", "<|end|>", "<image>"):
        tokenizer.add_special_tokens([AddedToken(text, rstrip=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|end|>",
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        chat_template=PHI3_CHAT,
    )


def save_model(
    folder: Path,
    kind: str = "phi",
    stock: bool = False,
    tokenizer: Any = None,
    image_size: int = SIZE,
    **says: Any,
) -> Path:
    """Save a random model with its tokenizer and imp.json, and return the folder."""
    random_model(kind, stock, image_size).save_pretrained(folder)
    chat = PHI2_CHAT if kind == "phi" else IM_CHAT
    (tokenizer or byte_level_tokenizer(chat)).save_pretrained(folder)
    stated = {
        "name": f"imp-tiny-{kind}",
        "template": "phi2",
        "image_size": image_size,
        "preprocessing": "square",
        "mixture": {"name": "small", "rows": 22, "digest": "ab" * 32},
        "license": "Apache-2.0",
    }
    (folder / "imp.json").write_text(json.dumps({**stated, **says}), encoding="utf-8")
    return folder
