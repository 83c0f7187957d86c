"""Imp on Phi-2 as transformers knows it: Llava whose head has a bias, as Phi-2's has.

A copy of this file lies in each saved model that needs it, so that
`AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)` loads it without
imp-data. Qwen2 and Phi-3 have no such bias: those models are plain Llava.
"""

from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration


class ImpConfig(LlavaConfig):
    """Under a name of its own: a plain Llava would drop the bias without a word."""

    model_type = "imp"


class ImpForConditionalGeneration(LlavaForConditionalGeneration):
    config: ImpConfig
    config_class = ImpConfig

    def __init__(self, config: ImpConfig) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size)
        self.post_init()
