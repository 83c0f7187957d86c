"""Run the exported model in PyTorch in float32, as the reference for llama.cpp's answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import nn
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from imp_data.errors import UserError
from imp_data.images.rgb import rgb
from imp_data.mobile.gguf.chat_template import read_stored_chat_template
from imp_data.mobile.gguf.merged_model import Checkpoint, canonical_name, load_checkpoint
from imp_data.mobile.gguf.quantize import VISION_FOR_TEXT, GgmlType, Precision, round_trip
from imp_data.mobile.gguf.text_model import text_tensors
from imp_data.mobile.gguf.vision_model import vision_tensors
from imp_data.mobile.gguf.weights import Floats

IMAGE_TOKEN = "<image>"


def _tensor_types(model: Checkpoint, precision: Precision) -> dict[str, GgmlType]:
    """Return the type of each tensor in an export of this precision, by the checkpoint's name."""
    tensors = text_tensors(model, precision)
    tensors += vision_tensors(model, VISION_FOR_TEXT[precision], model.image_size)
    return {tensor.source: tensor.kind for tensor in tensors}


class _WithBias(LlavaForConditionalGeneration):
    """Llava with the output bias of Phi-2."""

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=True)


class PytorchReference:
    """A model folder opened by transformers; it shares only the tensor types with the exporter.

    With a precision, its weights are rounded to that precision. The remaining difference to
    llama.cpp is the rounding of activations, and any error of the export.
    """

    def __init__(self, folder: Path, precision: Precision | None = None) -> None:
        checkpoint = load_checkpoint(folder)
        self.preprocessing = checkpoint.provenance.preprocessing
        stated = {k: v for k, v in checkpoint.config.items() if k not in {"model_type", "auto_map"}}
        config = LlavaConfig(**stated)
        has_bias = "lm_head.bias" in checkpoint.tensors
        kind = _WithBias if has_bias else LlavaForConditionalGeneration
        transformers.logging.disable_progress_bar()
        self.model, report = kind.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True
        )
        if report["missing_keys"]:
            problem = f"lacks the tensors {', '.join(sorted(report['missing_keys']))}"
            raise UserError(folder, problem, "save the whole model again, with every shard")
        self.model.eval()
        if precision:
            self._round_weights(_tensor_types(checkpoint, precision))
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.chat_template = read_stored_chat_template(folder)
        self.trained_size = int(config.vision_config.image_size)
        self.patch = int(config.vision_config.patch_size)

    @torch.no_grad()
    def _round_weights(self, types: dict[str, GgmlType]) -> None:
        for name, weight in self.model.named_parameters():
            kind = types.get(canonical_name(name), GgmlType.F32)
            if kind is GgmlType.F32:
                continue
            # In blocks of rows, to keep a large matrix from being in memory three times.
            for rows in weight.view(-1, weight.shape[-1]).split(4096):
                rows.copy_(torch.from_numpy(round_trip(rows.numpy(), kind)))

    def prompt(self, question: str, with_image: bool) -> tuple[str, ...]:
        """Return the prompt by the tokenizer's chat template, split at the image."""
        content = f"{IMAGE_TOKEN}\n{question}" if with_image else question
        messages = [{"role": "user", "content": content}]
        prompt = self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.chat_template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return tuple(str(prompt).split(IMAGE_TOKEN))

    def tokenize(self, prompt: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each piece of a prompt."""
        bos = self.tokenizer.bos_token
        ids = []
        for number, piece in enumerate(prompt):
            special = number == 0 and not (bos and piece.startswith(bos))
            ids.append(list(self.tokenizer(piece, add_special_tokens=special)["input_ids"]))
        return ids

    def answer(
        self, tokens: Sequence[Sequence[int]], image: Image.Image | None, size: int, max_tokens: int
    ) -> str:
        """Return PyTorch's own greedy answer of at most `max_tokens` tokens."""
        answer: list[int] = []
        prompt = self._embed_prompt(tokens, image, size)
        while len(answer) < max_tokens:
            token = int(self._logits(prompt, answer)[-1].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            answer.append(token)
        # llama.cpp omits special tokens too.
        return str(self.tokenizer.decode(answer, skip_special_tokens=True))

    def logprobs(
        self,
        tokens: Sequence[Sequence[int]],
        image: Image.Image | None,
        size: int,
        answer: Sequence[int],
    ) -> Floats:
        """Return (len(answer), vocabulary) log-probabilities at each position of this answer."""
        logits = self._logits(self._embed_prompt(tokens, image, size), answer)[:-1]
        return np.asarray(torch.log_softmax(logits.double(), dim=-1).float().numpy())

    @torch.no_grad()
    def _logits(self, prompt: torch.Tensor, answer: Sequence[int]) -> torch.Tensor:
        """Return (1 + len(answer), vocabulary) logits after the prompt and after each token."""
        embeddings = torch.cat([prompt, self._embed_tokens(answer)])[None]
        logits: torch.Tensor = self.model(
            inputs_embeds=embeddings, logits_to_keep=len(answer) + 1
        ).logits
        return logits[0]

    @torch.no_grad()
    def _embed_prompt(
        self, tokens: Sequence[Sequence[int]], image: Image.Image | None, size: int
    ) -> torch.Tensor:
        """Return the embeddings of a prompt, with the image's between its two pieces.

        transformers would also replace an `<image>` in an answer, so the pieces are joined here.
        """
        pieces = [self._embed_tokens(piece) for piece in tokens]
        if image is not None:
            features = self._image_features(self._pixels(image, size), size)
            pieces.insert(1, torch.cat(features.pooler_output))
        return torch.cat(pieces)

    def _embed_tokens(self, tokens: Sequence[int]) -> torch.Tensor:
        embeddings: torch.Tensor = self.model.get_input_embeddings()(
            torch.tensor(tokens, dtype=torch.long)
        )
        return embeddings

    @torch.no_grad()
    def _image_features(self, pixels: torch.Tensor, size: int) -> Any:
        """Return the projector's output; transformers interpolates positions for another size."""
        config = self.model.config
        return self.model.get_image_features(
            pixels,
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            interpolate_pos_encoding=size != self.trained_size,
        )

    def _pixels(self, image: Image.Image, size: int) -> torch.Tensor:
        """Return the pixels, squeezed or padded as in training, scaled from 0..255 to -1..1.

        This repeats the preprocessing on purpose: an error in llama.cpp's input must not become an
        error of the reference too.
        """
        image = rgb(image)
        if self.preprocessing == "pad":
            side = max(image.size)
            square = Image.new("RGB", (side, side), (127, 127, 127))
            square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
            image = square
        numbers = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), np.float32)
        return torch.from_numpy((numbers / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
