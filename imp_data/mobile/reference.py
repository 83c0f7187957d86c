"""The same model in PyTorch, in float32: what llama.cpp's answers are held against."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from imp_data.errors import UserError
from imp_data.mobile.checkpoint import load_checkpoint
from imp_data.mobile.weights import Floats

IMAGE = "<image>"


class _WithBias(LlavaForConditionalGeneration):
    """Llava whose output has the bias that Phi-2's has."""

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=True)


class Reference:
    """A model folder opened by transformers; nothing of it goes through the exporter."""

    def __init__(self, folder: Path) -> None:
        checkpoint = load_checkpoint(folder)
        self.preprocessing = checkpoint.provenance.preprocessing
        stated = {k: v for k, v in checkpoint.config.items() if k not in {"model_type", "auto_map"}}
        config = LlavaConfig(**stated)
        has_bias = "lm_head.bias" in checkpoint.tensors
        kind = _WithBias if has_bias else LlavaForConditionalGeneration
        self.model, report = kind.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True
        )
        if report["missing_keys"]:
            problem = f"transformers misses {', '.join(sorted(report['missing_keys']))}"
            raise UserError(folder, problem, "save the whole model again, every shard of it")
        self.model.eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.trained_size = int(config.vision_config.image_size)
        self.patch = int(config.vision_config.patch_size)

    def prompt(self, question: str, with_picture: bool) -> tuple[str, ...]:
        """The whole prompt by the tokenizer's chat template, cut where the picture stands."""
        content = f"{IMAGE}\n{question}" if with_picture else question
        messages = [{"role": "user", "content": content}]
        found = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return tuple(str(found).split(IMAGE))

    def tokens(self, prompt: Sequence[str]) -> list[list[int]]:
        """The ids of each piece of a prompt."""
        bos = self.tokenizer.bos_token
        found = []
        for number, piece in enumerate(prompt):
            special = number == 0 and not (bos and piece.startswith(bos))
            found.append(list(self.tokenizer(piece, add_special_tokens=special)["input_ids"]))
        return found

    def answer(
        self, tokens: Sequence[Sequence[int]], picture: Image.Image | None, size: int, most: int
    ) -> str:
        """PyTorch's own greedy answer of at most so many tokens."""
        said: list[int] = []
        features = None if picture is None else self._features(self._pixels(picture, size), size)
        ids = self._ids(tokens, size)
        while len(said) < most:
            token = int(self._logits(ids + said, features, 1)[0].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            said.append(token)
        return str(self.tokenizer.decode(said))

    def logprobs(
        self,
        tokens: Sequence[Sequence[int]],
        picture: Image.Image | None,
        size: int,
        answer: Sequence[int],
    ) -> Floats:
        """(len(answer), vocabulary): log-probabilities at each place of this answer."""
        features = None if picture is None else self._features(self._pixels(picture, size), size)
        ids = self._ids(tokens, size) + list(answer)
        logits = self._logits(ids, features, len(answer) + 1)[:-1]
        return np.asarray(torch.log_softmax(logits.double(), dim=-1).float().numpy())

    def _ids(self, tokens: Sequence[Sequence[int]], size: int) -> list[int]:
        """The pieces of a prompt, joined by as many `<image>` as the picture has patches."""
        image = [self.model.config.image_token_index] * (size // self.patch) ** 2
        ids = list(tokens[0])
        for piece in tokens[1:]:
            ids += image + list(piece)
        return ids

    @torch.no_grad()
    def _logits(self, ids: list[int], features: Any, last: int) -> torch.Tensor:
        asked: dict[str, Any] = {"input_ids": torch.tensor([ids])}
        if features is not None:
            asked["mm_encoder_outputs"] = {"image": features}
        logits: torch.Tensor = self.model(**asked, logits_to_keep=last).logits
        return logits[0]

    @torch.no_grad()
    def _features(self, pixels: torch.Tensor, size: int) -> Any:
        """What the projector makes of a picture; at another size by transformers' own bicubic."""
        config = self.model.config
        return self.model.get_image_features(
            pixels,
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            interpolate_pos_encoding=size != self.trained_size,
        )

    def _pixels(self, picture: Image.Image, size: int) -> torch.Tensor:
        """Squeezed or padded as in training, from 0..255 to -1..1; written out once more here, so
        that a mistake in what llama.cpp is given does not become one of the reference too."""
        picture = picture.convert("RGB")
        if self.preprocessing == "pad":
            side = max(picture.size)
            square = Image.new("RGB", (side, side), (127, 127, 127))
            square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
            picture = square
        numbers = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC), np.float32)
        return torch.from_numpy((numbers / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
