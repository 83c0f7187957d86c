"""Adapter that runs a merged model in lmms-eval.

    python -m lmms_eval --model imp --model_args pretrained=DIR --tasks gqa,pope --batch_size 1

lmms-eval finds it by the entry point `lmms_eval.models`. Its answers equal those of `imp-data
evaluate`: one image, greedy decoding, whatever sampling a task configures.
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
from imp_data.storage.paths import expand_user
from imp_data.training.evaluation.generate import AnswerGenerator

MANIFEST = ModelManifest("imp", simple_class_path="imp_data.training.evaluation.lmms.Imp")
_MAX_NEW_TOKENS = 256


class Imp(lmms):
    """The model as lmms-eval constructs it; lmms-eval splits requests over processes."""

    def __init__(self, pretrained: str, device: str | None = None, **ignored: Any) -> None:
        super().__init__()
        rank = os.environ.get("LOCAL_RANK", "0")
        self._device = torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
        if device and ":" in device:
            self._device = torch.device(device)
        self._speaker = AnswerGenerator(Path(expand_user(pretrained)), self._device)

    @property
    def device(self) -> torch.device:
        """The device on which lmms-eval gathers results of the processes."""
        return self._device

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return an answer to each request, in order."""
        answers = []
        with progress("answers", "questions", len(requests)) as counter:
            for request in requests:
                answers.append(self._answer(*request.args))
                counter.add(1)
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not supported: no task that Imp is evaluated on needs it."""
        raise NotImplementedError("imp generates answers; it does not compute likelihoods")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not supported: no task that Imp is evaluated on needs it."""
        raise NotImplementedError("imp answers single questions; it has no multi-round mode")

    def _answer(
        self, context: str, options: dict[str, Any], visual: Any, number: Any, task: str, split: str
    ) -> str:
        images = _images(visual(self.task_dict[task][split][number]), f"{task} {number}")
        answer = self._speaker.answer(
            images[0] if images else None,
            context.replace(IMAGE_TOKEN, "").strip(),
            int(options.get("max_new_tokens", _MAX_NEW_TOKENS)),
        )
        until = options.get("until") or []
        for stop in [until] if isinstance(until, str) else until:
            answer = answer.split(stop)[0] if stop else answer
        self.cache_hook.add_partial("generate_until", (context, options), answer)
        return answer.strip()


def _images(visuals: Any, where: str) -> list[Image.Image]:
    images = [image for image in visuals or [] if image is not None]
    if len(images) > 1 or not all(isinstance(one, Image.Image) for one in images):
        raise UserError(where, "has more than one still image", "omit this task")
    return images
