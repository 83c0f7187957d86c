"""Imp on Phi-2 for transformers: Llava with a bias in the head, as Phi-2 has.

Each saved model that needs it has a copy of this file, so that
`AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)` loads it without
imp-data. Qwen2 and Phi-3 have no such bias: those models are plain Llava.
"""

from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration


class ImpConfig(LlavaConfig):
    """A separate model type, since plain Llava would silently drop the bias."""

    model_type = "imp"


class ImpForConditionalGeneration(LlavaForConditionalGeneration):
    config: ImpConfig
    config_class = ImpConfig

    def __init__(self, config: ImpConfig) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size)
        self.post_init()
