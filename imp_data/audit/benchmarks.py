"""The benchmarks that an audit compares images with: built packs, or fingerprint files."""

from collections.abc import Sequence
from pathlib import Path

from imp_data.errors import UserError
from imp_data.images.compare import read_fingerprints
from imp_data.images.image_hashes import hash_entries, read_hashes
from imp_data.screening.decontamination.benchmark_index import (
    BenchmarkIndex,
    read_benchmark_index,
)


def find_benchmarks(paths: Sequence[Path]) -> list[BenchmarkIndex]:
    """Return the benchmarks in these files and data directories.

    A file is a pack (of a finished build or of `imp-data pack`), or one of `imp-data fingerprint`.
    Bytes and hashes are compared; of a pack, ids too. Raise UserError if a path has none.
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
    if "id" in rows.column_names:
        return read_benchmark_index(file)
    names = rows["image"].to_pylist()
    digests = rows["sha256"].to_pylist()
    hashes, places = hash_entries(read_hashes(rows))
    return BenchmarkIndex(
        name=file.stem,
        ids=frozenset(),
        id_pattern=None,
        sha256s={digest: name for digest, name in zip(digests, names, strict=True) if digest},
        hashes=hashes,
        hash_ids=[names[place] for place in places.tolist()],
    )
