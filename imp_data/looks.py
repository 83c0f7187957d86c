"""Pictures as a draw sees them: which pass, and what a mixture says of those that do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.fingerprints import Names, check_decoder, picture_names
from imp_data.ledger import Verdict
from imp_data.manifest import Limits
from imp_data.store import parquet_file
from imp_data.twins import Pictures, Twins
from imp_data.verdicts import Benchmarked, picture_verdicts

_COLUMNS = [
    *("image", "status", "sha256", "width", "height", "phash", "phash_upright", "problem"),
]
_SHA256_BYTES = 32

# Gives a table of fingerprints, one row a picture, in the order asked.
Fingerprints = Callable[[Sequence[str]], pa.Table]


class Judge:
    """Whether pictures pass, as they are asked for; each is looked at once.

    They must be asked for in draw order where `twins` are to go. Memory: 9 bytes a picture.
    """

    def __init__(
        self,
        look: Fingerprints,
        limits: Limits,
        benchmarks: Sequence[Benchmarked],
        twins: Twins | None = None,
    ) -> None:
        self._look, self._limits, self._benchmarks, self._twins = look, limits, benchmarks, twins
        self._names = np.zeros(1, np.uint64)
        self._fine = np.ones(1, np.bool_)  # 0, text without a picture, passes

    def passes(self, images: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """For each picture whether its Samples may stay."""
        names = picture_names(images)
        fresh, first = np.unique(names, return_index=True)
        unknown = ~np.isin(fresh, self._names)
        places = np.sort(first[unknown])  # in the order asked, so that files do not depend on names
        if len(places):
            asked = [image for image in (images[n] for n in places.tolist()) if image is not None]
            table = self._look(asked)
            fine = np.ones(len(asked), np.bool_)
            refused = picture_verdicts(table, self._limits, self._benchmarks)
            fine[np.fromiter(refused, np.int64)] = False
            if self._twins is not None:
                whole = np.flatnonzero(fine)
                alike = self._twins.refused(pictures_of(table.take(pa.array(whole))))
                fine[whole[np.fromiter(alike, np.int64)]] = False
            self._learn(names[places], fine)
        return self._fine[np.searchsorted(self._names, names)]

    def _learn(self, names: Names, fine: npt.NDArray[np.bool_]) -> None:
        names, fine = np.append(self._names, names), np.append(self._fine, fine)
        order = np.argsort(names, kind="stable")
        self._names, self._fine = names[order], fine[order]


class Looks(NamedTuple):
    """All pictures of a fingerprint file, judged: 53 bytes each, in ascending order of `names`.

    `refused` has the verdicts on those that do not pass, by name.
    """

    names: Names
    sha256: npt.NDArray[np.uint8]
    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    fine: npt.NDArray[np.bool_]
    refused: dict[int, Verdict]

    def passes(self, names: Names) -> npt.NDArray[np.bool_]:
        """For each picture whether its Samples may stay. Raises KeyError if one is unknown."""
        places = self._places(names)
        if not (self.names[places] == names).all():
            raise KeyError("a picture that was not looked at")
        return self.fine[places]

    def _places(self, names: Names) -> npt.NDArray[np.intp]:
        return np.searchsorted(self.names, names).clip(max=len(self.names) - 1)

    def columns(self, names: Names, shown: npt.NDArray[np.bool_]) -> list[pa.Array]:
        """sha256, width and height of the pictures; null where they are not shown."""
        places = self._places(names)
        texts = self.sha256[places[shown]].tobytes().hex().encode()
        bounds = np.zeros(len(shown) + 1, np.int32)
        np.cumsum(shown * np.int32(2 * _SHA256_BYTES), out=bounds[1:])
        valid = np.packbits(shown, bitorder="little")
        buffers = map(pa.py_buffer, (bounds, texts, valid))
        sides = [pa.array(side[places], mask=~shown) for side in (self.width, self.height)]
        return [pa.StringArray.from_buffers(len(shown), *buffers), *sides]


def pictures_of(table: pa.Table) -> Pictures:
    """Rows of a fingerprint file as `Twins` compares them; hashes are 0 where one is broken."""
    stored = table["phash"]
    upright = pc.coalesce(table["phash_upright"], stored)
    hashes = [pc.fill_null(column, 0).to_numpy() for column in (stored, upright)]
    begins = bytes.fromhex("".join((text or "0" * 16)[:16] for text in table["sha256"].to_pylist()))
    names = picture_names(table["image"].to_pylist())
    return Pictures(names, np.frombuffer(begins, ">u8").astype(np.uint64), np.stack(hashes, axis=1))


def read_looks(path: Path, limits: Limits, benchmarks: Sequence[Benchmarked]) -> Looks:
    """Judge every picture of a fingerprint file, some ten thousand at a time."""
    file = parquet_file(path)
    check_decoder(path, file.schema_arrow)
    # The first row stands for text without a picture, which passes.
    parts = [_part(None, {})]
    refused: dict[int, Verdict] = {}
    for batch in file.iter_batches(columns=_COLUMNS):
        table = pa.Table.from_batches([batch])
        verdicts = picture_verdicts(table, limits, benchmarks)
        part = _part(table, verdicts)
        refused.update((int(part[0][row]), verdict) for row, verdict in verdicts.items())
        parts.append(part)
    names, sha256, width, height, fine = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(names, kind="stable")
    return Looks(names[order], sha256[order], width[order], height[order], fine[order], refused)


def _part(table: pa.Table | None, verdicts: dict[int, Verdict]) -> tuple[npt.NDArray[Any], ...]:
    """names, sha256, width, height, fine of some pictures."""
    if table is None:
        side = np.zeros(1, np.int32)
        digest = np.zeros((1, _SHA256_BYTES), np.uint8)
        return np.zeros(1, np.uint64), digest, side, side, np.ones(1, np.bool_)
    zeros = "0" * 2 * _SHA256_BYTES
    digests = bytes.fromhex("".join(d or zeros for d in table["sha256"].to_pylist()))
    fine = np.ones(table.num_rows, np.bool_)
    fine[np.fromiter(verdicts, np.int64)] = False
    return (
        picture_names(table["image"].to_pylist()),
        np.frombuffer(digests, np.uint8).reshape(-1, _SHA256_BYTES),
        *(table[side].fill_null(0).to_numpy() for side in ("width", "height")),
        fine,
    )
