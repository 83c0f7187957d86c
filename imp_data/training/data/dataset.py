"""A map-style dataset over a mixture: rows become tokens and pixels."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypedDict

import numpy as np
from PIL import Image

from imp_data.errors import UserError
from imp_data.images.decoding import NoImage, decode_rgb
from imp_data.images.reader import DamagedMember, TooManyBytes
from imp_data.manifests import Limits
from imp_data.sample import images_of
from imp_data.training.data.chat_templates import Template
from imp_data.training.data.encoding import Ids, RefusedSample, encode
from imp_data.training.data.images import Pixels, Preprocessing, preprocess
from imp_data.training.data.shards import Shards
from imp_data.training.data.token_weights import WeightedRow


class InputSpec(NamedTuple):
    """The manifest's figures that define a model's input."""

    image_size: int
    image_tokens: int
    preprocessing: Preprocessing
    max_length: int


class ImageSource(Protocol):
    """A reader of image files, such as images.reader.ImageReader."""

    def read(self, image: str, max_bytes: int) -> bytes:
        """Return the image's file. Raise FileNotFoundError, DamagedMember or TooManyBytes."""


class Item(TypedDict):
    """One encoded Sample; `pixel_values`, (images, 3, size, size), is None if it has no image.

    `weight` is the weight of each of its learned tokens in the loss of the step.
    """

    id: str
    input_ids: Ids
    labels: Ids
    weight: float
    pixel_values: Pixels | None


class MixtureDataset:
    """A map-style dataset over a mixture's folder, in its order; workers get a path, not rows.

    A tuple of WeightedRows returns the list of their items, to be packed into one sequence.
    """

    def __init__(
        self,
        folder: Path,
        images: ImageSource,
        tokenizer: Any,
        template: Template,
        figures: InputSpec,
    ) -> None:
        self.shards = Shards(folder)
        self.tokenizer, self.template, self.figures = tokenizer, template, figures
        self._images = images

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int | WeightedRow | tuple[WeightedRow, ...]) -> Item | list[Item]:
        """Return the item or items. Raise UserError with the Sample's id if one is unusable."""
        if not isinstance(index, tuple):
            return self.item(index)
        if isinstance(index, WeightedRow):
            return self.item(index.row, index.weight)
        return [self.item(pick.row, pick.weight) for pick in index]

    def item(self, number: int, weight: float = 1.0) -> Item:
        """Return one row's tokens and pixels."""
        columns = ("id", self.shards.image_column, "image_sha256", "conversations")
        row = self.shards.row(number, columns)
        where, images, figures = f"sample {row['id']}", images_of(row), self.figures
        tokens = figures.image_tokens if images else 0
        given = (self.tokenizer, self.template, row["conversations"], tokens, figures.max_length)
        encoded = encode(*given, len(images))
        if isinstance(encoded, RefusedSample):
            raise UserError(where, encoded.reason, "leave out the rows that preflight refuses")
        stated = row["image_sha256"]
        digests = stated if isinstance(stated, list) else [stated] * len(images)
        # Images of turns beyond the maximum length have no tokens, so they get no pixels.
        pixels = [
            self._pixels(image, sha256, where)
            for image, sha256 in zip(images[: encoded.images], digests, strict=False)
        ]
        return {
            "id": row["id"],
            "input_ids": encoded.input_ids,
            "labels": encoded.labels,
            "weight": weight,
            "pixel_values": np.stack(pixels) if pixels else None,
        }

    def _pixels(self, image: str, sha256: str | None, where: str) -> Pixels:
        data = _read_image(self._images, image, sha256, where)
        decoded = _decode_image(data, image, where)
        return preprocess(decoded, self.figures.image_size, self.figures.preprocessing)


def _read_image(images: ImageSource, image: str, sha256: str | None, where: str) -> bytes:
    """Return the image file that the mixture was built with.

    A mixture with deferred images has no sha256 to compare with.
    """
    try:
        data = images.read(image, Limits().max_image_bytes)
    except FileNotFoundError:
        problem = f"its image {image} is not found"
        raise UserError(where, problem, _PUT_BACK) from None
    except (DamagedMember, TooManyBytes) as error:
        problem = f"its image {image} cannot be read ({type(error).__name__} {error})"
        raise UserError(where, problem, _PUT_BACK) from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        problem = f"its image {image} differs from the one that the mixture was built with"
        raise UserError(where, problem, _PUT_BACK)
    return data


_PUT_BACK = "restore the image's file or its archive, or build the mixture again without it"


def _decode_image(data: bytes, image: str, where: str) -> Image.Image:
    try:
        return decode_rgb(data, trusted=True)
    except NoImage as error:
        problem = f"its image {image} cannot be decoded ({error})"
        raise UserError(where, problem, _PUT_BACK) from error
