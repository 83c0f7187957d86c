"""The benchmarks that an audit compares images with: built packs, or fingerprint files."""

import re
from collections.abc import Sequence
from pathlib import Path

from imp_data.errors import UserError
from imp_data.images.compare import read_fingerprints
from imp_data.images.image_hashes import hash_entries, read_hashes
from imp_data.manifests import Benchmark, load_manifest
from imp_data.screening.decontamination.benchmark_index import (
    BenchmarkIndex,
    read_benchmark_index,
)

_MANIFESTS = Path("manifests/benchmarks")
_NO_IDS = re.compile(r"(?!)")


def find_benchmarks(paths: Sequence[Path]) -> list[BenchmarkIndex]:
    """Return the benchmarks in these files and data directories.

    A file is a benchmark's of a finished build, or one of `imp-data fingerprint`. Bytes and hashes
    are compared; ids too if `manifests/benchmarks` has the manifest of the benchmark. Raise
    UserError if a path has none.
    """
    return [index for path in paths for index in _indexes(path)]


def _indexes(path: Path) -> list[BenchmarkIndex]:
    if not path.is_dir():
        return [_index(path)]
    found = sorted(path.glob("benchmarks/*/*.parquet")) or sorted(path.glob("*.parquet"))
    newest = {file.name: file for file in found}
    if not newest:
        raise UserError(
            path,
            "holds no fingerprints of a benchmark",
            "name the data directory of a finished build, or a file that `imp-data fingerprint` "
            "has made of a benchmark's images",
        )
    return [_index(file) for file in newest.values()]


def _index(file: Path) -> BenchmarkIndex:
    rows = read_fingerprints(file)
    manifest = _MANIFESTS / f"{file.stem.replace('_', '-')}.yaml"
    is_pack = "id" in rows.column_names
    if is_pack and manifest.is_file():
        return read_benchmark_index(load_manifest(manifest, Benchmark), file)
    names = rows["id" if is_pack else "image"].to_pylist()
    digests = rows["sha256"].to_pylist()
    hashes, places = hash_entries(read_hashes(rows))
    return BenchmarkIndex(
        name=file.stem,
        ids=frozenset(),
        id_pattern=_NO_IDS,
        sha256s={digest: name for digest, name in zip(digests, names, strict=True) if digest},
        hashes=hashes,
        hash_ids=[names[place] for place in places.tolist()],
    )
