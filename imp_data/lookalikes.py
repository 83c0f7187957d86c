"""Fingerprints of any pictures on disk, and which of two such files look alike."""

import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.fingerprints import check_decoder, fingerprints_of, write_fingerprints
from imp_data.images.archive import Shelf
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.match import Hashes, nearest
from imp_data.manifest import Folder, Limits

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


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
        rows += [look._replace(image=f"{path.name}/{look.image}") for look in looks]
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
    """For each picture of one file the nearest of the other within the distance, nearest first."""
    names, hashes = _hashes(queries)
    known, looks = _hashes(references)
    found = nearest(hashes, looks)
    near = np.flatnonzero(found.distance_bits <= max_distance_bits).tolist()
    alike = [Pair(names[n], known[found.place[n]], int(found.distance_bits[n])) for n in near]
    return sorted(alike, key=lambda pair: (pair.distance_bits, pair.image))


def _hashes(path: Path) -> tuple[list[str], Hashes]:
    if not path.is_file():
        raise UserError(path, "is not there", "make it with `imp-data fingerprint`")
    table = pq.read_table(path)
    check_decoder(path, table.schema)
    rows: list[dict[str, Any]] = table.select(["image", "phash"]).to_pylist()
    seen = [row for row in rows if row["phash"] is not None]
    return [r["image"] for r in seen], np.array([r["phash"] for r in seen], np.uint64)
