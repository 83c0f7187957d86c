"""Images as a draw sees them where those go that look like one kept before."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imp_data.images.fingerprint_cache import Names, hash_image_paths
from imp_data.ledger import Reason, Verdict
from imp_data.screening.image_decisions import ImageDecisions, hashed_images
from imp_data.screening.near_duplicates import (
    HashedImages,
    NearDuplicate,
    NearDuplicateIndex,
    no_images,
)
from imp_data.screening.refusal_table import joined, refusals
from imp_data.storage.tables import parquet_file

_COLUMNS = ["image", "sha256", "phash", "phash_upright"]


class WithoutNearDuplicates:
    """Looks without their twins; to be asked in draw order. Memory: 34 bytes an image more."""

    def __init__(self, looks: ImageDecisions, fingerprints: Path, max_bits: int) -> None:
        self._looks, self._file, self._twins = looks, fingerprints, NearDuplicateIndex(max_bits)
        self._images = _read(fingerprints)
        self._asked = np.zeros(len(self._images.names), np.bool_)
        self._gone = np.zeros(len(self._images.names), np.bool_)
        self._found: dict[int, NearDuplicate] = {}

    def passes(self, names: Names) -> npt.NDArray[np.bool_]:
        """For each image whether its Samples may stay. Raises KeyError if one is unknown."""
        fine = self._looks.passes(names)
        shown = np.flatnonzero(fine & (names != 0))
        places = np.searchsorted(self._images.names, names[shown])
        _, first = np.unique(places, return_index=True)
        fresh = places[np.sort(first)]  # in the order asked
        fresh = fresh[~self._asked[fresh]]
        self._asked[fresh] = True
        for row, twin in self._twins.refused(self._images.take(fresh)).items():
            self._gone[fresh[row]] = True
            self._found[int(self._images.names[fresh[row]])] = twin
        fine[shown] &= ~self._gone[places]
        return fine

    def looks(self) -> ImageDecisions:
        """The looks, with a verdict on each twin that was found so far."""
        wanted = {*self._found, *(twin.name for twin in self._found.values())}
        paths = _paths(self._file, np.array(sorted(wanted), np.uint64))
        verdicts = {
            name: Verdict(
                Reason.NEAR_DUPLICATE,
                {"image": paths[name], "of": paths[of], "distance_bits": bits},
            )
            for name, (of, bits) in self._found.items()
        }
        refused = joined([self._looks.refused, refusals(verdicts)])
        return self._looks._replace(refused=refused)


def _read(path: Path) -> HashedImages:
    """All images of a fingerprint file, in ascending order of their names."""
    batches = parquet_file(path).iter_batches(columns=_COLUMNS)
    parts = [hashed_images(pa.Table.from_batches([batch])) for batch in batches]
    parts.append(no_images())
    whole = HashedImages(*map(np.concatenate, zip(*parts, strict=True)))
    return whole.take(np.argsort(whole.names, kind="stable"))


def _paths(path: Path, names: Names) -> dict[int, str]:
    """{name: path} of some images of a fingerprint file."""
    found: dict[int, str] = {}
    for batch in parquet_file(path).iter_batches(columns=["image"]):
        images = batch.column("image").to_pylist()
        here = hash_image_paths(images)
        for row in np.flatnonzero(np.isin(here, names)).tolist():
            found[int(here[row])] = images[row]
    return found
