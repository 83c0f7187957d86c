"""Images as a draw sees them: which pass, and what a mixture says of those that do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.images.fingerprint_cache import Names, check_decoder, hash_image_paths
from imp_data.manifests import Limits
from imp_data.screening.image_filters import Benchmarked, image_verdicts
from imp_data.screening.near_duplicates import HashedImages, NearDuplicateIndex
from imp_data.screening.refusal_table import Refusals, joined, refusals
from imp_data.storage.tables import parquet_file

_COLUMNS = [
    *("image", "status", "sha256", "width", "height", "phash", "phash_upright", "problem"),
    "found_as",
]
_SHA256_BYTES = 32
_BATCH_ROWS = 1 << 14

# Gives a table of fingerprints, one row an image, in the order asked.
Fingerprints = Callable[[Sequence[str]], pa.Table]


class ImageFilter:
    """Whether images pass, as they are asked for; each is looked at once.

    They must be asked for in draw order where `twins` are to go. Memory: 9 bytes an image.
    """

    def __init__(
        self,
        look: Fingerprints,
        limits: Limits,
        benchmarks: Sequence[Benchmarked],
        twins: NearDuplicateIndex | None = None,
    ) -> None:
        self._look, self._limits, self._benchmarks, self._twins = look, limits, benchmarks, twins
        self._names = np.zeros(1, np.uint64)
        self._fine = np.ones(1, np.bool_)  # 0, text without an image, passes

    def passes(self, images: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """For each image whether its Samples may stay."""
        names = hash_image_paths(images)
        fresh, first = np.unique(names, return_index=True)
        at = np.searchsorted(self._names, fresh).clip(max=len(self._names) - 1)
        unknown = self._names[at] != fresh
        places = np.sort(first[unknown])  # in the order asked, so that files do not depend on names
        if len(places):
            asked = [image for image in (images[n] for n in places.tolist()) if image is not None]
            table = self._look(asked)
            fine = np.ones(len(asked), np.bool_)
            refused = image_verdicts(table, self._limits, self._benchmarks)
            fine[np.fromiter(refused, np.int64)] = False
            if self._twins is not None:
                whole = np.flatnonzero(fine)
                alike = self._twins.refused(hashed_images(table.take(pa.array(whole))))
                fine[whole[np.fromiter(alike, np.int64)]] = False
            self._learn(names[places], fine)
        return self._fine[np.searchsorted(self._names, names)]

    def _learn(self, names: Names, fine: npt.NDArray[np.bool_]) -> None:
        names, fine = np.append(self._names, names), np.append(self._fine, fine)
        order = np.argsort(names, kind="stable")
        self._names, self._fine = names[order], fine[order]


class ImageDecisions(NamedTuple):
    """All images of a fingerprint file, judged: 53 bytes each, and what Refusals take.

    `names` ascend; image n of them is row `rows[n]` of the other columns. `refused` has the
    verdicts on those that do not pass, by name; `respelled` the evidence on those that were found
    under another spelling of their path.
    """

    names: Names
    rows: npt.NDArray[np.int32]
    sha256: npt.NDArray[np.uint8]
    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    fine: npt.NDArray[np.bool_]
    refused: Refusals
    respelled: dict[int, dict[str, str]]

    def passes(self, names: Names) -> npt.NDArray[np.bool_]:
        """For each image whether its Samples may stay. Raises KeyError if one is unknown."""
        places = self._places(names)
        if not (self.names[places] == names).all():
            raise KeyError("an image that was not looked at")
        return self.fine[self.rows[places]]

    def _places(self, names: Names) -> npt.NDArray[np.intp]:
        return np.searchsorted(self.names, names).clip(max=len(self.names) - 1)

    def columns(self, names: Names, shown: npt.NDArray[np.bool_]) -> list[pa.Array]:
        """sha256, width and height of the images; null where they are not shown."""
        rows = self.rows[self._places(names)]
        texts = self.sha256[rows[shown]].tobytes().hex().encode()
        bounds = np.zeros(len(shown) + 1, np.int32)
        np.cumsum(shown * np.int32(2 * _SHA256_BYTES), out=bounds[1:])
        valid = np.packbits(shown, bitorder="little")
        buffers = map(pa.py_buffer, (bounds, texts, valid))
        sides = [pa.array(side[rows], mask=~shown) for side in (self.width, self.height)]
        return [pa.StringArray.from_buffers(len(shown), *buffers), *sides]


def hashed_images(table: pa.Table) -> HashedImages:
    """Rows of a fingerprint file as `NearDuplicateIndex` compares them; one that is broken or flat
    has none.
    """
    stored = table["phash"]
    upright = pc.coalesce(table["phash_upright"], stored)
    hashes = [pc.fill_null(column, 0).to_numpy() for column in (stored, upright)]
    begins = bytes.fromhex("".join((text or "0" * 16)[:16] for text in table["sha256"].to_pylist()))
    names = hash_image_paths(table["image"].to_pylist())
    digests = np.frombuffer(begins, ">u8").astype(np.uint64)
    return HashedImages(names, digests, np.stack(hashes, axis=1), stored.is_valid().to_numpy())


def read_decisions(path: Path, limits: Limits, benchmarks: Sequence[Benchmarked]) -> ImageDecisions:
    """Judge every image of a fingerprint file, some ten thousand at a time."""
    file = parquet_file(path)
    check_decoder(path, file.schema_arrow)
    # The first row stands for text without an image, which passes.
    count = 1 + file.metadata.num_rows
    names, fine = np.zeros(count, np.uint64), np.ones(count, np.bool_)
    sha256 = np.zeros((count, _SHA256_BYTES), np.uint8)
    width, height = np.zeros((2, count), np.int32)
    refused: list[Refusals] = []
    respelled: dict[int, dict[str, str]] = {}
    row = 1
    for batch in file.iter_batches(_BATCH_ROWS, columns=_COLUMNS):
        here, row = slice(row, row + len(batch)), row + len(batch)
        names[here] = hash_image_paths(batch["image"].to_pylist())
        sha256[here] = _digests(batch["sha256"])
        width[here], height[here] = (batch[n].fill_null(0) for n in ("width", "height"))
        verdicts = image_verdicts(pa.Table.from_batches([batch]), limits, benchmarks)
        fine[here][np.fromiter(verdicts, np.int64, len(verdicts))] = False
        by_name = {int(names[here.start + place]): v for place, v in verdicts.items()}
        refused.append(refusals(by_name))
        for place in np.flatnonzero(batch["found_as"].is_valid()).tolist():
            spellings = {"image": batch["image"][place], "found_as": batch["found_as"][place]}
            evidence = {name: str(spelling) for name, spelling in spellings.items()}
            respelled[int(names[here.start + place])] = evidence
    order = np.argsort(names, kind="stable").astype(np.int32)
    gone = joined(refused)
    return ImageDecisions(names[order], order, sha256, width, height, fine, gone, respelled)


def _digests(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    """32 bytes each; zeros where one is null."""
    zeros = "0" * 2 * _SHA256_BYTES
    whole = bytes.fromhex("".join(text or zeros for text in texts.to_pylist()))
    return np.frombuffer(whole, np.uint8).reshape(-1, _SHA256_BYTES)
