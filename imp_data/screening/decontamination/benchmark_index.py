"""Build and read a benchmark's pack: ids and fingerprints of images not to train on."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from imp_data.errors import UserError
from imp_data.images.decoding import decoder_version
from imp_data.images.fingerprint import FINGERPRINT_SCHEMA, Fingerprint
from imp_data.images.fingerprint_cache import check_decoder, compute_fingerprints, fingerprint_table
from imp_data.images.hamming import Hashes
from imp_data.images.image_hashes import HASH_COLUMNS, hash_entries, read_hashes
from imp_data.images.reader import ImageReader
from imp_data.ledger import Verdict
from imp_data.manifests import Benchmark, Limits
from imp_data.records.json_array.parse import parse
from imp_data.records.json_array.scanner import json_spans
from imp_data.screening.decontamination.certificate.trial_images import choose_sample
from imp_data.screening.decontamination.recall import measure_recall
from imp_data.storage.range_reader import open_file
from imp_data.storage.tables import open_parquet, parquet_writer

# A fingerprint pack is a fingerprint file with the benchmark's own id before each row.
PACK_SCHEMA = pa.schema([pa.field("id", pa.string()), *FINGERPRINT_SCHEMA])


class BenchmarkIndex(NamedTuple):
    """A benchmark for matching; `hashes[n]` belongs to the id `hash_ids[n]`.

    An image that its EXIF orientation turns has two hashes.
    """

    name: str
    ids: frozenset[str]
    id_pattern: re.Pattern[str]
    sha256s: dict[str, str]
    hashes: Hashes
    hash_ids: list[str]


def build_benchmark(
    benchmark: Benchmark,
    raw: Path,
    reader: ImageReader | None,
    limits: Limits,
    out: Path,
    altered_images: int = 0,
) -> dict[str, Any]:
    """Write benchmarks/<name>.parquet. Without a reader the pack contains ids alone.

    `altered_images` of its images are altered in every known way to measure recall.
    """
    ids = list(dict.fromkeys(_ids(benchmark, raw)))
    rows = [Fingerprint(image="", status="missing") for _ in ids]
    if reader is not None:
        rows = _fingerprints(benchmark, ids, reader, limits)
    table = fingerprint_table(rows).add_column(0, "id", pa.array(ids, pa.string()))
    schema = PACK_SCHEMA.with_metadata({"decoder": decoder_version()})
    with parquet_writer(out, schema) as writer:
        writer.write_table(table.cast(schema))
    whole = [row for row in rows if row.status == "ok"]
    figures = {"ids": len(ids), "fingerprinted": len(whole), "unseen": len(ids) - len(whole)}
    hashed = [row for row in whole if row.phash is not None]  # a flat image matches by its bytes
    if reader is None or not altered_images or not hashed:
        return figures
    label = f"benchmarks/{benchmark.name}"
    places = choose_sample([row.image for row in hashed], altered_images)
    return {**figures, "altered": measure_recall(hashed, places, reader, limits, label)}


def _ids(benchmark: Benchmark, raw: Path) -> Iterator[str]:
    for name in benchmark.id_files:
        path = raw / name
        with open_file(path) as file:
            for spans in json_spans(path, key="data"):
                for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True):
                    file.seek(start)
                    yield _id(path, start, file.read(end - start))


def _id(path: Path, place: int, element: bytes) -> str:
    """Return the id of a record. Raise UserError without one: its image would pass."""
    parsed = parse(element)
    value = None if isinstance(parsed, Verdict) else parsed[0]
    identity = value.get("image_id") if isinstance(value, dict) else None
    if not isinstance(identity, str) or not identity:
        raise UserError(
            f"{path}, byte {place}",
            f"a record without a readable image_id: {element[:60]!r}",
            "replace the file by a complete one, or download it again by its raw asset",
        )
    return identity


def _fingerprints(
    benchmark: Benchmark, ids: list[str], reader: ImageReader, limits: Limits
) -> list[Fingerprint]:
    """Fingerprint each id's image at the first of its possible paths that exists."""
    found: dict[str, Fingerprint] = {}
    for template in benchmark.image_paths:
        paths = {i: template.replace("{id}", i) for i in ids if i not in found}
        label = f"benchmarks/{benchmark.name}"
        for row, i in zip(
            compute_fingerprints(label, list(paths.values()), reader, limits), paths, strict=True
        ):
            if row.status not in ("missing", "ambiguous"):
                found[i] = row
    missing = benchmark.image_paths[0]
    return [found.get(i) or Fingerprint(missing.replace("{id}", i), "missing") for i in ids]


def read_benchmark_index(benchmark: Benchmark, path: Path) -> BenchmarkIndex:
    """Read a benchmark's pack. Raise UserError if another decoder made its hashes."""
    table = open_parquet(path).read(["id", "sha256", *HASH_COLUMNS])
    check_decoder(path, table.schema)
    ids, sha256s = (table[name].to_pylist() for name in ("id", "sha256"))
    hashes, rows = hash_entries(read_hashes(table))
    return BenchmarkIndex(
        name=benchmark.name,
        ids=frozenset(ids),
        id_pattern=re.compile(benchmark.id_pattern),
        sha256s={sha256: i for sha256, i in zip(sha256s, ids, strict=True) if sha256},
        hashes=hashes,
        hash_ids=[ids[row] for row in rows.tolist()],
    )
