"""Images to try a matcher on: drawn ones, and those of folders and archives."""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import xxhash
from PIL import Image

from imp_data.images.listing import ImageGroup
from imp_data.images.path_spellings import escape_name
from imp_data.manifests import Limits
from imp_data.screening.decontamination.certificate.alterations import plain_copy
from imp_data.screening.decontamination.certificate.drawn_documents import (
    DRAWN_DOCUMENTS,
    draw_document,
)
from imp_data.screening.decontamination.certificate.drawn_photos import SIZES, draw_photo

PHOTO, CROP, FRAME, DOCUMENT = "photo", "crop", "frame", "document"
# Kinds that are drawn with one level for most of their area.
DOCUMENT_KINDS = frozenset({DOCUMENT, *DRAWN_DOCUMENTS})
_JPEG_QUALITY = 88
_FRAMES_OF_SCENE = 6
_DOCUMENTS_OF_TEMPLATE = 8


class TrialImage(NamedTuple):
    """An image to match; `read` returns its file, and is sent to other processes.

    Images of one `origin` show the same, and no pair of them is a false match. Those of one
    `family` are different images that look alike: charts of one template, frames of one scene.
    `kind` is "" where only the image itself can tell (see `describe`).
    """

    name: str
    kind: str
    origin: str
    family: str
    read: Callable[[], bytes]


def half_of(origin: str) -> str:
    """Return `tune` or `held-out`: thresholds are chosen on the one, and tried on the other."""
    return "held-out" if xxhash.xxh3_64_intdigest(origin.encode()) & 1 else "tune"


def choose_sample(names: Sequence[str], most: int) -> list[int]:
    """Return the places of `most` names, sampled by their hash and not by their place."""
    by_hash = sorted(range(len(names)), key=lambda n: xxhash.xxh3_64_intdigest(names[n].encode()))
    return sorted(by_hash[:most])


def drawn_photos(count: int, seed: int = 0) -> Iterator[TrialImage]:
    """Draw different photos."""
    for n in range(seed, seed + count):
        yield _photo(PHOTO, n, 0, f"photo {n}", "")


def drawn_frames(scenes: int, seed: int = 50_000) -> Iterator[TrialImage]:
    """Draw six frames of each of some scenes."""
    for scene, frame in product(range(seed, seed + scenes), range(_FRAMES_OF_SCENE)):
        yield _photo(FRAME, scene, frame, f"scene {scene}, frame {frame}", f"scene {scene}")


def drawn_documents(templates: int) -> Iterator[TrialImage]:
    """Draw eight documents of each of some templates of each kind."""
    for kind, template in product(DRAWN_DOCUMENTS, range(templates)):
        for number in range(_DOCUMENTS_OF_TEMPLATE):
            name = f"{kind} {template}.{number}"
            read = partial(_read_document, kind, template, number)
            yield TrialImage(name, kind, name, f"{kind} {template}", read)


def crops_of(images: Sequence[TrialImage], each: int) -> Iterator[TrialImage]:
    """Crop each image `each` times: a third to all of its width, in a usual size and shape."""
    for image, n in product(images, range(each)):
        name = f"{image.name}, crop {n}"
        yield TrialImage(name, CROP, image.origin, "", partial(_read_crop, image, name))


def stored_images(groups: Sequence[ImageGroup]) -> Iterator[TrialImage]:
    """Yield the images of folders and archives; each is an origin of its own until described."""
    for group in groups:
        for member in group.names:
            name = escape_name(f"{group.stem}/{member}".removeprefix("/"))
            yield TrialImage(name, "", name, "", partial(_read_stored, group, member))


def _photo(kind: str, seed: int, frame: int, name: str, family: str) -> TrialImage:
    return TrialImage(name, kind, name, family, partial(_read_photo, seed, frame))


def _read_photo(seed: int, frame: int) -> bytes:
    return _jpeg(draw_photo(seed, frame=frame))


def _read_document(kind: str, template: int, number: int) -> bytes:
    out = io.BytesIO()
    draw_document(kind, template, number).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _read_crop(image: TrialImage, name: str) -> bytes:
    generator = np.random.default_rng(xxhash.xxh3_64_intdigest(name.encode()))
    whole = plain_copy(image.read())
    size = SIZES[int(generator.integers(0, len(SIZES)))]
    most = min(whole.width / size[0], whole.height / size[1])
    factor = most * int(generator.integers(350, 1001)) / 1000
    width, height = (max(int(side * factor), 1) for side in size)
    left = int(generator.integers(0, whole.width - width + 1))
    top = int(generator.integers(0, whole.height - height + 1))
    part = whole.crop((left, top, left + width, top + height))
    return _jpeg(part.resize(size, Image.Resampling.BICUBIC))


def _read_stored(group: ImageGroup, member: str) -> bytes:
    return group.reader.read(member, Limits().max_image_bytes)


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()
