"""Generate a model's answer to a question about an image."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from imp_data.errors import UserError
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.encoding import RefusedSample, encode_prompt
from imp_data.training.data.images import preprocess
from imp_data.training.model.model_folder import facts_of, load_network, load_processor


class Speaker:
    """A loaded model that answers questions by greedy decoding."""

    def __init__(self, folder: Path, device: torch.device | None = None) -> None:
        self._facts = facts_of(folder)
        self._tokenizer = load_processor(folder).tokenizer
        self._device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network: LlavaForConditionalGeneration = load_network(folder).to(self._device).eval()

    def answer(self, image: Image.Image | None, question: str, max_new_tokens: int = 256) -> str:
        """Return the answer, up to the template's end token; `question` has no `<image>`."""
        inputs = self._inputs(image, question)
        with torch.inference_mode():
            ids = self._network.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        generated = ids[0, inputs["input_ids"].shape[1] :]
        return self._tokenizer.decode(generated, skip_special_tokens=True).strip()

    def _inputs(self, image: Image.Image | None, question: str) -> dict[str, Any]:
        facts = self._facts
        tokens = facts["image_tokens"] if image is not None else 0
        prompt = f"<image>\n{question}" if tokens else question
        encoded = encode_prompt(self._tokenizer, TEMPLATES[facts["template"]], prompt, tokens)
        if isinstance(encoded, RefusedSample):
            raise UserError("question", encoded.reason, "write a question without <image>")
        ids = torch.from_numpy(encoded.input_ids)[None].to(self._device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if image is not None:
            pixels = preprocess(image, facts["image_size"], facts["preprocessing"])
            inputs["pixel_values"] = torch.from_numpy(pixels)[None].to(self._device)
        return inputs


def answer(folder: Path, image: Image.Image | None, question: str) -> str:
    """Return one answer of the model in `folder`; for several, load the model once."""
    return Speaker(folder).answer(image, question)
