"""Build and read a benchmark's pack: ids and fingerprints of images not to train on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from imp_data.errors import UserError
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import compute_fingerprints, fingerprint_table
from imp_data.images.hamming import Hashes
from imp_data.images.identity import find_identities
from imp_data.images.image_hashes import HASH_COLUMNS, hash_entries, read_hashes
from imp_data.images.reader import ImageReader
from imp_data.manifests import Benchmark, ImageIdKind, Limits
from imp_data.screening.decontamination.benchmark_references import (
    Reference,
    collect_identities,
    list_references,
)
from imp_data.screening.decontamination.certificate.trial_images import choose_sample
from imp_data.screening.decontamination.packs import PACK_SCHEMA, open_pack, pack_writer
from imp_data.screening.decontamination.recall import measure_recall


@dataclass(frozen=True)
class BenchmarkIndex:
    """A benchmark for matching; `hashes[n]` belongs to the id `hash_ids[n]`.

    An image that its EXIF orientation turns has two hashes. `identities` maps an identity in one of
    the collections `kinds` to the id.
    """

    name: str
    ids: frozenset[str]
    id_pattern: re.Pattern[str] | None
    sha256s: dict[str, str]
    hashes: Hashes
    hash_ids: list[str]
    kinds: tuple[ImageIdKind, ...] = ()
    identities: Mapping[str, str] = field(default_factory=dict)

    def find_id(self, image: str) -> tuple[str, str | None] | None:
        """Return the id that an image's path states, and the identity by which it was found."""
        if self.id_pattern is not None:
            for found in self.id_pattern.findall(image.rsplit("/", 1)[-1]):
                if found in self.ids:
                    return found, None
        for identity in find_identities(image, self.kinds):
            if identity in self.identities:
                return self.identities[identity], identity
        return None


def build_benchmark(
    benchmark: Benchmark,
    raw: Path,
    reader: ImageReader | None,
    limits: Limits,
    out: Path,
    altered_images: int = 0,
) -> dict[str, Any]:
    """Write benchmarks/<name>.parquet. Without a reader the pack contains ids alone.

    An image that several rows of a table repeat is written once, under the id of the first, and an
    empty cell is no image. `altered_images` of the images are altered in every known way to measure
    recall.
    """
    if benchmark.pack is not None:
        return _copy_pack(raw / benchmark.pack, benchmark, out)
    folders = () if reader is None else reader.folders
    references = list_references(benchmark, raw, folders, raw.parent)
    identities = collect_identities(benchmark, raw, references)
    rows = [Fingerprint(image="", status="missing") for _ in references]
    if reader is not None:
        rows = _fingerprints(benchmark.name, references, reader, limits)
    in_tables = bool(benchmark.records) and reader is not None
    copies = _copies(rows) if in_tables else [[place] for place in range(len(rows))]
    rows = [rows[first] for first, *_ in copies]
    ids = pa.array([references[first].id for first, *_ in copies], pa.string())
    merged = [list(dict.fromkeys(one for n in same for one in identities[n])) for same in copies]
    table = fingerprint_table(rows).add_column(0, "id", ids)
    table = table.append_column("identities", pa.array(merged, pa.list_(pa.string())))
    with pack_writer(out, benchmark) as writer:
        writer.write_table(table.cast(writer.schema))
    whole = [row for row in rows if row.status == "ok"]
    figures = {"ids": len(ids), "fingerprinted": len(whole), "unseen": len(ids) - len(whole)}
    hashed = [row for row in whole if row.phash is not None]  # a flat image matches by its bytes
    if reader is None or not altered_images or not hashed:
        return figures
    label = f"benchmarks/{benchmark.name}"
    places = choose_sample([row.image for row in hashed], altered_images)
    return {**figures, "altered": measure_recall(hashed, places, reader, limits, label)}


def _fingerprints(
    name: str, references: Sequence[Reference], reader: ImageReader, limits: Limits
) -> list[Fingerprint]:
    """Fingerprint each image at the first of its possible paths that exists."""
    found: dict[int, Fingerprint] = {}
    for paths in zip_longest(*(reference.paths for reference in references)):
        left = {n: path for n, path in enumerate(paths) if path is not None and n not in found}
        rows = compute_fingerprints(f"benchmarks/{name}", list(left.values()), reader, limits)
        for n, row in zip(left, rows, strict=True):
            if row.status not in ("missing", "ambiguous"):
                found[n] = row
    return [
        found.get(n) or Fingerprint(next(iter(reference.paths), ""), "missing")
        for n, reference in enumerate(references)
    ]


def _copies(rows: Sequence[Fingerprint]) -> list[list[int]]:
    """Return the places of the rows of each image, by its bytes, in the order of its first row."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row.status != "missing":  # an empty cell, such as the second image of a question
            places.setdefault(row.sha256 or f"row {place}", []).append(place)
    return [*places.values()]


def _copy_pack(pack: Path, benchmark: Benchmark, out: Path) -> dict[str, Any]:
    """Write the rows of a published pack under the facts of this benchmark's manifest."""
    facts, file = open_pack(pack)
    if facts["name"] != benchmark.name:
        problem = f"is the pack of {facts['name']}, not of {benchmark.name}"
        raise UserError(pack, problem, "correct `pack` in the benchmark's manifest")
    table = file.read(PACK_SCHEMA.names)
    with pack_writer(out, benchmark) as writer:
        writer.write_table(table.cast(writer.schema))
    seen = table["status"].to_pylist().count("ok")
    return {"ids": len(table), "fingerprinted": seen, "unseen": len(table) - seen}


def read_benchmark_index(path: Path) -> BenchmarkIndex:
    """Read a benchmark's pack. Raise UserError if another decoder made its hashes."""
    facts, file = open_pack(path)
    table = file.read(["id", "sha256", *HASH_COLUMNS, "identities"])
    ids, sha256s, identities = (table[name].to_pylist() for name in ("id", "sha256", "identities"))
    hashes, rows = hash_entries(read_hashes(table))
    pattern = facts["id_pattern"]
    return BenchmarkIndex(
        name=facts["name"],
        ids=frozenset(ids),
        id_pattern=None if pattern is None else re.compile(pattern),
        sha256s={sha256: i for sha256, i in zip(sha256s, ids, strict=True) if sha256},
        hashes=hashes,
        hash_ids=[ids[row] for row in rows.tolist()],
        kinds=tuple(facts["kinds"]),
        identities={one: i for i, some in zip(ids, identities, strict=True) for one in some},
    )
