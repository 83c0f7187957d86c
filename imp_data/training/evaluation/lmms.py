"""A merged model as lmms-eval asks it.

    python -m lmms_eval --model imp --model_args pretrained=DIR --tasks gqa,pope --batch_size 1

lmms-eval, installed beside imp-data, finds it by the entry point `lmms_eval.models`. Its answers
are those that `imp-data evaluate` has: on one image, the likeliest token each time, whatever
sampling a task asks for.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from PIL import Image

from imp_data.errors import UserError
from imp_data.parallel.progress import progress
from imp_data.sample import IMAGE_TOKEN
from imp_data.storage.paths import at_home
from imp_data.training.evaluation.generate import Speaker

MANIFEST = ModelManifest("imp", simple_class_path="imp_data.training.evaluation.lmms.Imp")
_MAX_NEW_TOKENS = 256


class Imp(lmms):
    """lmms-eval says `pretrained` and the device; of several processes it gives each its part."""

    def __init__(self, pretrained: str, device: str | None = None, **ignored: Any) -> None:
        super().__init__()
        place = os.environ.get("LOCAL_RANK", "0")
        self._device = torch.device(f"cuda:{place}" if torch.cuda.is_available() else "cpu")
        if device and ":" in device:
            self._device = torch.device(device)
        self._speaker = Speaker(Path(at_home(pretrained)), self._device)

    @property
    def device(self) -> torch.device:
        """Where lmms-eval counts what the processes have."""
        return self._device

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """An answer to each request, in their order."""
        answers = []
        with progress("answers", "questions", len(requests)) as told:
            for request in requests:
                answers.append(self._answer(*request.args))
                told.add(1)
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """None of the tasks that Imp is measured by asks for it."""
        raise NotImplementedError("imp answers questions; it does not weigh given answers")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """As above."""
        raise NotImplementedError("imp answers one question at a time")

    def _answer(
        self, context: str, options: dict[str, Any], visual: Any, number: Any, task: str, split: str
    ) -> str:
        images = _images(visual(self.task_dict[task][split][number]), f"{task} {number}")
        said = self._speaker.answer(
            images[0] if images else None,
            context.replace(IMAGE_TOKEN, "").strip(),
            int(options.get("max_new_tokens", _MAX_NEW_TOKENS)),
        )
        until = options.get("until") or []
        for stop in [until] if isinstance(until, str) else until:
            said = said.split(stop)[0] if stop else said
        self.cache_hook.add_partial("generate_until", (context, options), said)
        return said.strip()


def _images(shown: Any, where: str) -> list[Image.Image]:
    images = [image for image in shown or [] if image is not None]
    if len(images) > 1 or not all(isinstance(one, Image.Image) for one in images):
        raise UserError(where, "shows more than one still image", "leave this task out")
    return images
