"""The benchmarks that an audit compares images with: built packs, or fingerprint files."""

from collections.abc import Sequence
from pathlib import Path

from imp_data.errors import UserError
from imp_data.images.compare import read_fingerprints
from imp_data.images.image_hashes import hash_entries, read_hashes
from imp_data.manifests.benchmark_questions import ContaminationPolicy
from imp_data.screening.decontamination.benchmark_index import (
    BenchmarkIndex,
    read_benchmark_index,
)
from imp_data.screening.decontamination.questions.question_pack import read_question_pack
from imp_data.screening.decontamination.questions.question_stage import QuestionPacks
from imp_data.screening.text_filters import BenchmarkQuestions
from imp_data.storage.digests import file_sha256, text_digest

_QUESTIONS = ".questions.parquet"


def find_benchmarks(paths: Sequence[Path]) -> list[BenchmarkIndex]:
    """Return the benchmarks in these files and data directories.

    A file is a pack (of a finished build or of `imp-data pack`), or one of `imp-data fingerprint`.
    Bytes and hashes are compared; of a pack, ids too. Raise UserError if a path has none.
    """
    return [index for path in paths for index in _indexes(path)]


def find_questions(packs: Sequence[Path], benchmarks: Sequence[Path]) -> BenchmarkQuestions | None:
    """Return the questions in these packs, and in those beside the fingerprints of benchmarks.

    Raise UserError if two packs are of one benchmark.
    """
    beside = [pack.with_name(f"{pack.stem}{_QUESTIONS}") for b in benchmarks for pack in _files(b)]
    files = (*filter(Path.is_file, beside), *packs)
    if not files:
        return None
    names = [read_question_pack(file).name for file in files]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        problem = f"two question packs are of {repeated[0]}"
        raise UserError("--questions", problem, "name one pack of each benchmark")
    policies = dict.fromkeys(names, ContaminationPolicy())
    return BenchmarkQuestions(QuestionPacks(files, text_digest(*map(file_sha256, files))), policies)


def _indexes(path: Path) -> list[BenchmarkIndex]:
    return [_index(file) for file in _files(path)]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("benchmarks/*/*.parquet")) or sorted(path.glob("*.parquet"))
    newest = {file.name: file for file in found if not file.name.endswith(_QUESTIONS)}
    if not newest:
        raise UserError(
            path,
            "holds no fingerprints of a benchmark",
            "name the data directory of a finished build, or a file that `imp-data fingerprint` "
            "has made of a benchmark's images",
        )
    return [*newest.values()]


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
