"""Fingerprint any images on disk, and match the images of two fingerprint files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import (
    check_decoder,
    compute_fingerprints,
    write_fingerprints,
)
from imp_data.images.hamming import build_index, find_nearest_within
from imp_data.images.image_hashes import hash_entries, read_hashes
from imp_data.images.listing import list_images, unique_stems
from imp_data.images.path_spellings import escape_name
from imp_data.manifests import Limits
from imp_data.storage.checked_file import SealedFile, is_sealed

_ANEW = "make it with `imp-data fingerprint`"
_COMPARED = ["image", "status", "sha256", "phash", "phash_upright"]


class ImageMatch(NamedTuple):
    """An image and the reference that it matches."""

    image: str
    reference: str
    distance_bits: int


class Fingerprinted(NamedTuple):
    """The rows of a fingerprint file, and the files that could not be read, with the reason."""

    rows: list[Fingerprint]
    unread: dict[str, str]


def fingerprint_paths(paths: Sequence[Path], out: Path) -> Fingerprinted:
    """Fingerprint every image in these folders, zips and tars, named `<path>/<member>`.

    Archives within a folder are read as well. Paths of equal names get the names of their parent
    folders in front. Raise UserError if a path contains no image.
    """
    different = list({os.path.abspath(path): path for path in paths}.values())
    found = [
        list_images(path, stem)
        for path, stem in zip(different, unique_stems(different), strict=True)
    ]
    rows: list[Fingerprint] = []
    for group in (group for one in found for group in one.groups):
        for row in compute_fingerprints(
            escape_name(group.stem), group.names, group.reader, Limits()
        ):
            name = f"{group.stem}/{row.image}".removeprefix("/")
            rows.append(row._replace(image=escape_name(name), found_as=None))
    write_fingerprints(out, rows)
    return Fingerprinted(rows, {escape_name(k): v for one in found for k, v in one.unread.items()})


def match_images(queries: Path, references: Path, max_distance_bits: int) -> list[ImageMatch]:
    """Return the nearest reference within the distance of each query image, nearest first.

    An image that EXIF turns is compared both as stored and upright. A flat image has no hash and
    is compared by its bytes.
    """
    query_rows, reference_rows = read_fingerprints(queries), read_fingerprints(references)
    matches = [
        *_hash_matches(query_rows, reference_rows, max_distance_bits),
        *_byte_matches(query_rows, reference_rows),
    ]
    best: dict[str, ImageMatch] = {}
    for match in sorted(matches, key=lambda match: (match.distance_bits, match.image)):
        best.setdefault(match.image, match)
    return list(best.values())


def _hash_matches(
    queries: pa.Table, references: pa.Table, max_distance_bits: int
) -> Iterator[ImageMatch]:
    hashes, rows = hash_entries(read_hashes(queries))
    reference_hashes, reference_rows = hash_entries(read_hashes(references))
    distances, places = find_nearest_within(
        hashes, build_index(reference_hashes, max_distance_bits)
    )
    near = np.flatnonzero(distances <= max_distance_bits)
    images = queries["image"].take(pa.array(rows[near])).to_pylist()
    others = references["image"].take(pa.array(reference_rows[places[near]])).to_pylist()
    return map(ImageMatch, images, others, distances[near].tolist())


def _byte_matches(queries: pa.Table, references: pa.Table) -> Iterator[ImageMatch]:
    """Yield the flat queries whose bytes equal those of a reference, the first of equal ones."""
    flat = (pc.field("status") == "ok") & pc.field("phash").is_null()
    names = references.select(["sha256", "image"]).to_pylist()
    same = {row["sha256"]: row["image"] for row in reversed(names)}
    for row in queries.filter(flat).to_pylist():
        if row["sha256"] in same:
            yield ImageMatch(row["image"], same[row["sha256"]], 0)


def read_fingerprints(path: Path) -> pa.Table:
    """Return what images are compared by, and the ids if it is a benchmark's file.

    Raise UserError if it is no fingerprint file, or has no image to compare.
    """
    if not path.is_file():
        raise UserError(path, "is a folder" if path.is_dir() else "is not there", _ANEW)
    try:
        # Only files of `imp-data fingerprint` are sealed; other programs write such files too.
        source = SealedFile(path, _ANEW) if is_sealed(path) else path.absolute()
        names = pq.read_schema(source).names
        if absent := [name for name in _COMPARED if name not in names]:
            problem = f"is no fingerprint file (it lacks the column {absent[0]})"
            raise UserError(path, problem, _ANEW)
        table = pq.read_table(source, columns=[*(["id"] if "id" in names else []), *_COMPARED])
    except (pa.ArrowException, OSError) as error:
        problem = f"is no fingerprint file ({error})"
        raise UserError(path, problem, _ANEW) from error
    check_decoder(path, table.schema)
    if not pc.any(pc.equal(table["status"], "ok")).as_py():
        problem = f"holds no image to compare ({table.num_rows:,} rows, none of them whole)"
        raise UserError(path, problem, "make it again from a folder or archive that holds images")
    return table
