"""Fingerprints of any pictures on disk, and which of two such files look alike."""

import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.fingerprints import check_decoder, fingerprints_of, write_fingerprints
from imp_data.images.archive import Shelf
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.match import Hashes, index, nearest_within
from imp_data.manifest import Folder, Limits

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_COMPARED = ["image", "status", "sha256", "phash", "phash_upright"]


class Pair(NamedTuple):
    """A picture and the reference it looks like."""

    image: str
    reference: str
    distance_bits: int


def fingerprint_paths(paths: Sequence[Path], out: Path) -> list[Fingerprint]:
    """Fingerprint every picture in these folders, zips and tars, named `<path>/<member>`."""
    rows: list[Fingerprint] = []
    for path in paths:
        images, shelf = _opened(path)
        looks = fingerprints_of(str(path), images, shelf, Limits())
        # An archive's members have its name before them already.
        stem = f"{path.name}/" if path.is_dir() else ""
        rows += [look._replace(image=stem + look.image) for look in looks]
    write_fingerprints(out, rows)
    return rows


def _opened(path: Path) -> tuple[list[str], Shelf]:
    """The pictures' names below a path, and the shelf that reads them."""
    if path.is_dir():
        files = (f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file())
        return _pictures(files), Shelf(path, path, ())
    if path.suffix not in {".zip", ".tar"} or not path.is_file():
        raise UserError(path, "is no folder, zip or plain tar", "name one that holds pictures")
    root = Folder(path=path.name, file=path.name)
    inside = [f"{path.name}/{name}" for name in _pictures(_members(path))]
    return inside, Shelf(path.parent / ".none", path.parent, (("", root),))


def _members(path: Path) -> Iterator[str]:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield from archive.namelist()
        else:
            with tarfile.open(path, "r:") as tar:
                yield from (m.name.removeprefix("./") for m in tar if m.isfile())
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise UserError(path, f"is not a whole archive ({error})", "fetch it again") from error


def _pictures(names: Iterator[str]) -> list[str]:
    return sorted(name for name in names if Path(name).suffix.lower() in _ENDINGS)


def pairs(queries: Path, references: Path, max_distance_bits: int) -> list[Pair]:
    """For each picture of one file the nearest of the other within the distance, nearest first.

    Pictures that say how they are to be turned are compared both as stored and upright. Flat ones,
    which have no hash, are compared by their bytes.
    """
    asked, others = _read(queries), _read(references)
    (names, hashes), (known, looks) = _hashes(asked), _hashes(others)
    found = nearest_within(hashes, index(looks, max_distance_bits))
    near = np.flatnonzero(found.distance_bits <= max_distance_bits).tolist()
    alike = [Pair(names[n], known[found.place[n]], int(found.distance_bits[n])) for n in near]
    same = {row["sha256"]: row["image"] for row in reversed(others)}
    flat = [row for row in asked if row["status"] == "ok" and row["phash"] is None]
    alike += [Pair(r["image"], same[r["sha256"]], 0) for r in flat if r["sha256"] in same]
    best: dict[str, Pair] = {}
    for pair in sorted(alike, key=lambda pair: (pair.distance_bits, pair.image)):
        best.setdefault(pair.image, pair)
    return list(best.values())


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(path, "is not there", "make it with `imp-data fingerprint`")
    try:
        table = pq.read_table(path, columns=_COMPARED)
    except (pa.ArrowException, OSError) as error:
        problem = f"is no fingerprint file ({error})"
        raise UserError(path, problem, "make it with `imp-data fingerprint`") from error
    check_decoder(path, table.schema)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _hashes(rows: Sequence[dict[str, Any]]) -> tuple[list[str], Hashes]:
    looks = [
        (row["image"], look)
        for row in rows
        for look in (row["phash"], row["phash_upright"])
        if look is not None
    ]
    return [image for image, _ in looks], np.array([look for _, look in looks], np.uint64)
