"""Other matchers for benchmarks/decontamination.py, as far as they are installed."""

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock

import imagehash
import numpy as np
from fingerprint import _imagededup
from PIL import Image, ImageOps

from imp_data.images.decoding import decode_rgb
from imp_data.images.hamming import Hashes
from imp_data.images.rgb import rgb
from imp_data.screening.decontamination.certificate.matchers import (
    HashIndex,
    Matcher,
    Pairs,
    ThresholdMatcher,
)

# PDQ's own advice: hashes of lower quality are not compared (ThreatExchange, pdq/README.md).
_PDQ_LEAST_QUALITY = 50
_ORIENTATION = 0x0112


def _looks(data: bytes) -> list[Image.Image]:
    """Return the RGB image as stored, and upright: peers leave EXIF to their caller."""
    with Image.open(io.BytesIO(data)) as image:
        stored = decode_rgb(data)
        if image.getexif().get(_ORIENTATION, 1) == 1:
            return [stored]
        return [stored, rgb(ImageOps.exif_transpose(image))]


@dataclass(frozen=True)
class ImagehashMatcher(ThresholdMatcher):
    """imagehash.phash of a full decode, as stored and upright as a build compares images."""

    version: str
    name: str = "imagehash.phash"
    unit: str = "bits"
    threshold: float = 10
    loosest: float = 20
    step: float = 1

    def describe(self, data: bytes) -> Hashes:
        return np.array([int(str(imagehash.phash(look)), 16) for look in _looks(data)], np.uint64)

    def index(self, references: Sequence[Hashes | None]) -> HashIndex:
        return HashIndex(references, self.loosest)


@dataclass(frozen=True)
class PdqMatcher(ThresholdMatcher):
    """PDQ, 256 bits; images of low quality have no hash."""

    version: str
    name: str = "PDQ"
    unit: str = "bits"
    threshold: float = 31
    loosest: float = 60
    step: float = 1

    def describe(self, data: bytes) -> Hashes | None:
        import pdqhash

        found = [pdqhash.compute(np.asarray(look)) for look in _looks(data)]
        if min(quality for _, quality in found) < _PDQ_LEAST_QUALITY:
            return None
        return np.stack([np.packbits(bits.astype(np.uint8)).view(np.uint64) for bits, _ in found])

    def index(self, references: Sequence[Hashes | None]) -> HashIndex:
        return HashIndex(references, self.loosest)


@dataclass(frozen=True)
class DedupHashMatcher(ThresholdMatcher):
    """imagededup's PHash at its default distance."""

    version: str
    name: str = "imagededup PHash"
    unit: str = "bits"
    threshold: float = 10
    loosest: float = 20
    step: float = 1

    def describe(self, data: bytes) -> Hashes:
        encoder = _imagededup()(verbose=False)
        codes = (encoder.encode_image(image_array=np.asarray(look)) for look in _looks(data))
        return np.array([int(code, 16) for code in codes], np.uint64)

    def index(self, references: Sequence[Hashes | None]) -> HashIndex:
        return HashIndex(references, self.loosest)


_networks: dict[str, Any] = {}


@dataclass(frozen=True)
class DedupNetworkMatcher(ThresholdMatcher):
    """imagededup's CNN at its default cosine of 0.9; a value is 1 - cosine."""

    version: str
    name: str = "imagededup CNN"
    unit: str = "1 - cosine"
    threshold: float = 0.1
    loosest: float = 0.3
    step: float = 0.005

    def describe(self, data: bytes) -> Any:
        if not _networks:
            if isinstance(sys.modules.get("torchvision"), MagicMock) or not find_spec(
                "torchvision"
            ):
                raise ImportError("needs torchvision, and its weights on this machine")
            from imagededup.methods import CNN

            _networks["CNN"] = CNN(verbose=False)
        vector = _networks["CNN"].encode_image(image_array=np.asarray(decode_rgb(data)))[0]
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def index(self, references: Sequence[Any]) -> "CosineIndex":
        return CosineIndex(references, self.loosest)


class CosineIndex:
    """Unit vectors of references; every pair is compared."""

    def __init__(self, references: Sequence[Any], loosest: float) -> None:
        self._references, self._loosest = np.stack(references), loosest

    def match(self, images: Sequence[Any]) -> Iterator[Pairs]:
        values = np.maximum(1 - np.stack(images) @ self._references.T, 0)
        rows, columns = np.nonzero(values <= self._loosest)
        yield Pairs(rows, columns, values[rows, columns].astype(np.float64))


_PEERS: tuple[tuple[str, Any], ...] = (
    ("imagehash", ImagehashMatcher),
    ("pdqhash", PdqMatcher),
    ("imagededup", DedupHashMatcher),
    ("imagededup", DedupNetworkMatcher),
)


def installed_peers() -> tuple[list[Matcher], dict[str, str]]:
    """Return the peers that work here, with their versions; and why others are left out."""
    found: list[Matcher] = []
    left_out = {}
    sample = io.BytesIO()
    Image.effect_mandelbrot((120, 90), (-2, -1, 1, 1), 40).convert("RGB").save(sample, "PNG")
    for package, kind in _PEERS:
        try:
            peer = kind(f"{package} {version(package)}")
            peer.describe(sample.getvalue())
        except Exception as error:  # whatever an import or a missing file of weights raises
            left_out[kind.name] = f"{type(error).__name__}: {error}"
        else:
            found.append(peer)
    return found, left_out
