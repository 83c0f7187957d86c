"""Fingerprints of any images on disk, and which of two such files look alike."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import check_decoder, fingerprints_of, write_fingerprints
from imp_data.images.hamming import index, nearest_within
from imp_data.images.image_hashes import hash_entries, read_hashes
from imp_data.images.listing import listing, stems
from imp_data.images.path_spellings import shown
from imp_data.manifests import Limits
from imp_data.storage.checked_file import SealedFile, is_sealed

_ANEW = "make it with `imp-data fingerprint`"
_COMPARED = ["image", "status", "sha256", "phash", "phash_upright"]


class Pair(NamedTuple):
    """An image and the reference it looks like."""

    image: str
    reference: str
    distance_bits: int


class Fingerprinted(NamedTuple):
    """The rows of a fingerprint file, and what could not be looked into, with the reason."""

    rows: list[Fingerprint]
    unread: dict[str, str]


def fingerprint_paths(paths: Sequence[Path], out: Path) -> Fingerprinted:
    """Fingerprint every image in these folders, zips and tars, named `<path>/<member>`.

    Archives within a folder are looked into. Paths of one name are called by the folders around
    them as well. Raises UserError where a path holds no image.
    """
    different = list({os.path.abspath(path): path for path in paths}.values())
    found = [listing(path, stem) for path, stem in zip(different, stems(different), strict=True)]
    rows: list[Fingerprint] = []
    for album in (album for one in found for album in one.albums):
        for look in fingerprints_of(shown(album.stem), album.names, album.reader, Limits()):
            name = f"{album.stem}/{look.image}".removeprefix("/")
            rows.append(look._replace(image=shown(name), found_as=None))
    write_fingerprints(out, rows)
    return Fingerprinted(rows, {shown(k): v for one in found for k, v in one.unread.items()})


def pairs(queries: Path, references: Path, max_distance_bits: int) -> list[Pair]:
    """For each image of one file the nearest of the other within the distance, nearest first.

    Images that say how they are to be turned are compared both as stored and upright. Flat ones,
    which have no hash, are compared by their bytes.
    """
    asked, others = _read(queries), _read(references)
    images, known = asked["image"].to_pylist(), others["image"].to_pylist()
    (hashes, rows), (other_hashes, other_rows) = (
        hash_entries(read_hashes(table)) for table in (asked, others)
    )
    distances, places = nearest_within(hashes, index(other_hashes, max_distance_bits))
    near = np.flatnonzero(distances <= max_distance_bits)
    alike = [
        Pair(images[row], known[other], bits)
        for row, other, bits in zip(
            rows[near].tolist(),
            other_rows[places[near]].tolist(),
            distances[near].tolist(),
            strict=True,
        )
    ]
    same = dict(zip(reversed(others["sha256"].to_pylist()), reversed(known), strict=True))
    flat = asked.filter((pc.field("status") == "ok") & pc.field("phash").is_null()).to_pylist()
    alike += [Pair(r["image"], same[r["sha256"]], 0) for r in flat if r["sha256"] in same]
    best: dict[str, Pair] = {}
    for pair in sorted(alike, key=lambda pair: (pair.distance_bits, pair.image)):
        best.setdefault(pair.image, pair)
    return list(best.values())


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise UserError(path, "is not there", _ANEW)
    try:
        # Others write such files too; those of `imp-data fingerprint` are sealed.
        source = SealedFile(path, _ANEW) if is_sealed(path) else path.absolute()
        table = pq.read_table(source, columns=_COMPARED)
    except (pa.ArrowException, OSError) as error:
        problem = f"is no fingerprint file ({error})"
        raise UserError(path, problem, _ANEW) from error
    check_decoder(path, table.schema)
    if not pc.any(pc.equal(table["status"], "ok")).as_py():
        problem = f"holds no image to compare ({table.num_rows:,} rows, none of them whole)"
        raise UserError(path, problem, "make it again from a folder or archive that holds images")
    return table
