"""Read the decisions of a fingerprint file into flat arrays."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.images.fingerprint_cache import HashKeys, check_decoder, hash_image_paths
from imp_data.ledger import evidence_json
from imp_data.screening.image_decisions import DECISION_SCHEMA
from imp_data.screening.refusal_table import Refusals, join_refusals, refusals_from_columns
from imp_data.screening.sample_images import SampleImages
from imp_data.storage.sorted_lookup import find_sorted
from imp_data.storage.tables import open_parquet

_COLUMNS = ["image", "sha256", "width", "height", "found_as", *DECISION_SCHEMA.names]
_SHA256_BYTES = 32
_BATCH_ROWS = 1 << 14


class ImageDecisions(NamedTuple):
    """The decisions on all images of a fingerprint file: 61 bytes each, and the refusals.

    `names` ascend; image n of them is row `rows[n]` of the other columns. `refused` has the
    verdicts on the images that do not pass, by name; `respelled` the evidence on the images that
    were found under another spelling of their path.
    """

    names: HashKeys
    rows: npt.NDArray[np.int32]
    sha256: npt.NDArray[np.uint8]
    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    passing: npt.NDArray[np.bool_]
    duplicate_of: HashKeys
    refused: Refusals
    respelled: dict[int, dict[str, str]]

    def passing_images(self, samples: SampleImages) -> npt.NDArray[np.bool_]:
        """Return for each image whether it lets its Sample stay. Raise KeyError if one is unknown.

        An image that resembles another of its own Sample does; see `SampleImages.excuse_own`.
        """
        places = find_sorted(self.names, samples.keys)
        if (places < 0).any():
            raise KeyError("an image that has no decision")
        rows = self.rows[places]
        return samples.excuse_own(self.passing[rows], self.duplicate_of[rows])

    def columns(self, names: HashKeys, visible: npt.NDArray[np.bool_]) -> list[pa.Array]:
        """Return sha256, width and height of the images; null where `visible` is false."""
        # An image without a decision is never visible. The values of its neighbour stand under the
        # nulls, as in all earlier files: a file's digest covers them.
        places = np.searchsorted(self.names, names).clip(max=len(self.names) - 1)
        rows = self.rows[places]
        texts = self.sha256[rows[visible]].tobytes().hex().encode()
        bounds = np.zeros(len(visible) + 1, np.int32)
        np.cumsum(visible * np.int32(2 * _SHA256_BYTES), out=bounds[1:])
        valid = np.packbits(visible, bitorder="little")
        buffers = map(pa.py_buffer, (bounds, texts, valid))
        sides = [pa.array(side[rows], mask=~visible) for side in (self.width, self.height)]
        return [pa.StringArray.from_buffers(len(visible), *buffers), *sides]


def read_decisions(path: Path) -> ImageDecisions:
    """Read the decisions of a fingerprint file. Raise UserError if it holds none."""
    file = open_parquet(path)
    check_decoder(path, file.schema_arrow)
    _check_columns(path, file.schema_arrow)
    # The first row stands for text without an image, which passes.
    count = 1 + file.metadata.num_rows
    names, duplicate_of = np.zeros((2, count), np.uint64)
    passing = np.ones(count, np.bool_)
    sha256 = np.zeros((count, _SHA256_BYTES), np.uint8)
    width, height = np.zeros((2, count), np.int32)
    refused: list[Refusals] = []
    respelled: dict[int, dict[str, str]] = {}
    originals = _Originals(file)
    row = 1
    for batch in file.iter_batches(_BATCH_ROWS, columns=_COLUMNS):
        here, row = slice(row, row + len(batch)), row + len(batch)
        names[here] = hash_image_paths(batch["image"].to_pylist())
        sha256[here] = _digests(batch["sha256"])
        width[here], height[here] = (batch[n].fill_null(0) for n in ("width", "height"))
        passing[here] = batch["reason"].is_null()
        duplicate_of[here] = batch["duplicate_of"].fill_null(0)
        originals.add(names[here], batch["image"])
        refused.append(_refusals(batch, names[here], originals))
        respelled |= _respelled(batch, names[here])
    order = np.argsort(names, kind="stable").astype(np.int32)
    gone = join_refusals(refused)
    facts = (sha256, width, height, passing, duplicate_of)
    return ImageDecisions(names[order], order, *facts, gone, respelled)


def _check_columns(path: Path, schema: pa.Schema) -> None:
    if missing := set(_COLUMNS) - set(schema.names):
        raise UserError(
            path,
            f"lacks the columns {', '.join(sorted(missing))}: an earlier version wrote it",
            "materialize the images stage again, or run the whole job",
        )


class _Originals:
    """The paths of the kept images that near-duplicates name, collected in one pass.

    A kept image stands before its near-duplicates in the file: rows are in sampling order.
    """

    def __init__(self, file: pq.ParquetFile) -> None:
        column = file.read(columns=["duplicate_of"])["duplicate_of"]
        self._names = np.sort(pc.unique(column.drop_null()).to_numpy())
        self._paths = np.empty(len(self._names), object)

    def add(self, names: HashKeys, paths: pa.Array) -> None:
        """Keep the paths of those images that near-duplicates name."""
        places = find_sorted(self._names, names)
        rows = np.flatnonzero(places >= 0)
        self._paths[places[rows]] = paths.take(pa.array(rows)).to_pylist()

    def paths(self, names: HashKeys) -> list[str]:
        """Return the path of each kept image."""
        found: list[str] = self._paths[find_sorted(self._names, names)].tolist()
        return found


def _refusals(batch: pa.RecordBatch, names: HashKeys, originals: _Originals) -> Refusals:
    """Return the refusals of a batch, the evidence as in the ledger."""
    refused = batch["reason"].is_valid()
    evidence = batch["evidence"]
    duplicate = batch["duplicate_of"].is_valid()
    paths = originals.paths(batch["duplicate_of"].drop_null().to_numpy())
    texts = [
        evidence_json({**orjson.loads(text), "of": path})
        for text, path in zip(evidence.filter(duplicate).to_pylist(), paths, strict=True)
    ]
    evidence = pc.replace_with_mask(evidence, duplicate, pa.array(texts, pa.string()))
    keys = names[np.asarray(refused)]
    return refusals_from_columns(keys, batch["reason"].filter(refused), evidence.filter(refused))


def _respelled(batch: pa.RecordBatch, names: HashKeys) -> dict[int, dict[str, str]]:
    rows = np.flatnonzero(batch["found_as"].is_valid())
    pairs = batch.select(["image", "found_as"]).take(pa.array(rows)).to_pylist()
    evidence: list[dict[str, Any]] = pairs
    return dict(zip(names[rows].tolist(), evidence, strict=True))


def _digests(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    """Return 32 bytes for each sha256; zeros where it is null."""
    zeros = "0" * 2 * _SHA256_BYTES
    whole = bytes.fromhex("".join(text or zeros for text in texts.to_pylist()))
    return np.frombuffer(whole, np.uint8).reshape(-1, _SHA256_BYTES)
