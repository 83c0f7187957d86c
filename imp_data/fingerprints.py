"""The pictures stage: fingerprints of the pictures a draw reaches, and of no others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imp_data.engine import map_ordered
from imp_data.errors import UserError
from imp_data.images.archive import Shelf
from imp_data.images.fingerprint import SCHEMA, Fingerprint, decoder, fingerprint
from imp_data.manifest import Limits
from imp_data.progress import Progress, progress
from imp_data.store import parquet_writer

_BATCH_PICTURES = 32


class Album:
    """Fingerprints by picture; those not yet known are made, each once.

    `earlier` are fingerprints of the same pictures from an earlier build. Those asked for again
    are not made again, the others are not saved.
    """

    def __init__(
        self,
        shelf: Shelf,
        limits: Limits,
        told: Progress,
        earlier: Mapping[str, Fingerprint] | None = None,
    ) -> None:
        self._shelf, self._limits, self._told = shelf, limits, told
        self._earlier = earlier or {}
        self._known: dict[str, Fingerprint] = {}

    def __call__(self, images: Sequence[str]) -> list[Fingerprint]:
        """The fingerprints of these pictures, in their order."""
        asked = [image for image in dict.fromkeys(images) if image not in self._known]
        self._known.update((i, self._earlier[i]) for i in asked if i in self._earlier)
        unknown = [image for image in asked if image not in self._known]
        look = partial(_fingerprints, shelf=self._shelf, limits=self._limits)
        pieces = (unknown[n : n + _BATCH_PICTURES] for n in range(0, len(unknown), _BATCH_PICTURES))
        for made in map_ordered(look, pieces):
            self._known.update((one.image, one) for one in made)
            self._told.add(len(made))
        return [self._known[image] for image in images]

    def save(self, path: Path) -> dict[str, Any]:
        """Write all fingerprints, sorted by picture; returns the figures of the stage."""
        rows = [self._known[image] for image in sorted(self._known)]
        write_fingerprints(path, rows)
        statuses = Counter(row.status for row in rows)
        return {"pictures": len(rows), "statuses": dict(sorted(statuses.items()))}


def _fingerprints(images: list[str], shelf: Shelf, limits: Limits) -> list[Fingerprint]:
    return [fingerprint(image, shelf, limits) for image in images]


def fingerprints_of(
    label: str, images: Sequence[str], shelf: Shelf, limits: Limits
) -> list[Fingerprint]:
    """Fingerprints of a known list of pictures."""
    with progress(label, "pictures", len(images)) as told:
        return Album(shelf, limits, told)(images)


def write_fingerprints(path: Path, rows: Sequence[Fingerprint]) -> None:
    """A fingerprint file; the decoder that made the hashes stands in its metadata."""
    schema = SCHEMA.with_metadata({"decoder": decoder()})
    with parquet_writer(path, schema) as writer:
        writer.write_table(fingerprint_table(rows).cast(schema))


def fingerprint_table(rows: Sequence[Fingerprint]) -> pa.Table:
    """Fingerprints as a table, row by row."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def read_fingerprints(path: Path) -> dict[str, Fingerprint]:
    """{picture: fingerprint} of a file made by write_fingerprints with this machine's decoder."""
    table = pq.read_table(path)
    check_decoder(path, table.schema)
    return {row["image"]: Fingerprint(**row) for row in table.to_pylist()}


def check_decoder(path: Path, schema: pa.Schema) -> None:
    """Hashes made by other library versions may differ in a bit, so they are never compared."""
    made_by = (schema.metadata or {}).get(b"decoder", b"an unknown decoder").decode()
    if made_by != decoder():
        raise UserError(
            path,
            f"its hashes were made by {made_by}, here is {decoder()}",
            "delete it and build it again, or install the versions of constraints.txt",
        )
