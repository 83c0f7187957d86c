"""LLaVA's recipe as a plain loop, the reference of our trainer."""

import copy
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from imp_data.images.reader import ImageReader
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.encoding import IGNORED
from imp_data.training.data.sampling import modality_length_order
from imp_data.training.model.lora import plain

IMAGE = -200  # where an image's features go, as in the original


class Recipe:
    """The recipe's dataset: rows as Python objects, rounds tokenized again, HF's processor."""

    def __init__(self, path: Path, reader: ImageReader, tokenizer: Any, side: int) -> None:
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        self.rows = json.loads(path.read_bytes())
        self.reader, self.tokenizer, self.side = reader, tokenizer, side
        size, half = {"height": side, "width": side}, [0.5, 0.5, 0.5]
        self.processor = SiglipImageProcessorPil(size=size, image_mean=half, image_std=half)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        """ids with IMAGE in the image's place, labels, and pixels: zeros for text alone."""
        row = self.rows[number]
        turns = copy.deepcopy(row["conversations"])
        pixels = np.zeros((3, self.side, self.side), np.float32)
        if row["image"]:
            image = Image.open(BytesIO(self.reader.read(row["image"], 1 << 30))).convert("RGB")
            pixels = self.processor(image)["pixel_values"][0]
        segments = TEMPLATES["phi2"].segments(turns)
        ids = self._ids("".join(segment.text for segment in segments))
        labels, begin = torch.tensor(ids), 0
        for prompt, answer in zip(segments[::2], segments[1::2], strict=True):
            size = len(self._ids(prompt.text + answer.text))
            labels[begin : begin + len(self._ids(prompt.text))] = IGNORED
            begin += size
        return torch.tensor(ids), labels, torch.from_numpy(np.asarray(pixels))

    def _ids(self, text: str) -> list[int]:
        first, *rest = [self.tokenizer(chunk).input_ids for chunk in text.split("<image>")]
        return [*first, *(token for chunk in rest for token in (IMAGE, *chunk))]


def apart(items: list[Any]) -> tuple[list[Any], list[Any], Any]:
    """A batch's ids, labels and pixels; what is not of one length stays a list."""
    ids, labels, pixels = zip(*items, strict=True)
    return list(ids), list(labels), torch.stack(pixels)


def recipe_order(words: Any, per_device: int, chunks: int, seed: int) -> list[list[int]]:
    """Return batches by modality and length, estimated from words."""
    order = modality_length_order(words, per_device, chunks, seed, 0)
    return [order[n : n + per_device] for n in range(0, len(order), per_device)]


def spliced(
    network: nn.Module, ids: list[Any], labels: list[Any], pixels: Any
) -> tuple[dict[str, Any], int]:
    """As llava_arch.py's prepare_inputs_labels_for_multimodal: each sample's own embeddings, its
    image's features in their place, padded; every image is encoded, a black one too."""
    base = plain(network).model
    with torch.no_grad():
        seen = base.vision_tower(pixels, output_hidden_states=True).hidden_states[-2]
    features = base.multi_modal_projector(seen)
    table = base.get_input_embeddings()
    rows, marks = [], []
    for words, learned, image in zip(ids, labels, features, strict=True):
        words, learned = words.to(pixels.device), learned.to(pixels.device)
        places = (words == IMAGE).nonzero().flatten().tolist()
        if not places:
            # In the original nothing of the zero image is kept, but its gradient is there.
            rows.append(torch.cat([table(words), image[:0].to(table.weight.dtype)]))
            marks.append(learned)
            continue
        (place,) = places
        before, after = table(words[:place]), table(words[place + 1 :])
        rows.append(torch.cat([before, image.to(before.dtype), after]))
        held = torch.full((len(image),), IGNORED, device=words.device)
        marks.append(torch.cat([learned[:place], held, learned[place + 1 :]]))
    most = plain(network).config.text_config.max_position_embeddings
    rows, marks = [row[:most] for row in rows], [some[:most] for some in marks]
    pad = nn.utils.rnn.pad_sequence
    mask = pad([torch.ones(len(row), device=row.device) for row in rows], batch_first=True).long()
    given = {
        "inputs_embeds": pad(rows, batch_first=True),
        "labels": pad(marks, batch_first=True, padding_value=IGNORED),
        "attention_mask": mask,
    }
    return given, int(mask.sum())
