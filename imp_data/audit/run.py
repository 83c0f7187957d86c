"""Audit records: build a mixture of all of them in a temporary folder, and sum up its ledger."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from imp_data.audit.discovery import (
    FoundRecords,
    audit_source,
    find_records,
    list_record_names,
)
from imp_data.audit.figures import audit_figures
from imp_data.errors import UserError
from imp_data.manifests import Mixture, Recipe
from imp_data.manifests.benchmark_questions import ContaminationPolicy
from imp_data.manifests.sources import Benchmark
from imp_data.pipeline.build import Build
from imp_data.pipeline.duplicates_stage import write_duplicates_report
from imp_data.screening.decontamination.benchmark_index import read_benchmark_index
from imp_data.screening.decontamination.questions.question_pack import read_question_pack
from imp_data.screening.decontamination.questions.question_stage import QuestionPacks
from imp_data.screening.image_filters import BenchmarkMatcher, prepare_matcher
from imp_data.screening.text_filters import BenchmarkQuestions
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import file_sha256, text_digest

_NAME = "audit"
_EVERYTHING = 2**31 - 1
_MAX_DISTANCE_BITS = 10


class AuditOptions(NamedTuple):
    """Options of an audit.

    `images` is the folder of images that records name by path; `columns` and `form` describe
    records that are not recognised; `packs` are (benchmark, file of its fingerprints) to compare
    with, `question_packs` files of digests of questions; `ledger` is a file to which the ledger is
    written.
    """

    images: Path | None = None
    columns: Mapping[str, str] = {}
    form: str | None = None
    packs: Sequence[tuple[Benchmark, Path]] = ()
    question_packs: Sequence[Path] = ()
    ledger: Path | None = None


def audit(path: Path, options: AuditOptions) -> dict[str, Any]:
    """Audit the records at a path; return the figures.

    Raise UserError if there are no records, or none whose form is known.
    """
    folder, names = list_record_names(path)
    found, not_read = find_records(folder, names, options.columns, options.form)
    with TemporaryDirectory(prefix="imp-audit-") as scratch:
        data = DataDir(Path(scratch), _NAME)
        build = _AuditBuild(_recipe(found, options), data, options)
        _link(data.raw(""), {source: folder for source in build.recipe.sources})
        data.images.symlink_to((options.images or folder).absolute())
        for source in build.recipe.sources:
            build.raw(source)
            build.records(source)
            build.images(source)
            build.screened(source)
        build.mixture()
        write_duplicates_report(build)
        if options.ledger is not None:
            options.ledger.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data.mixture(_NAME) / "ledger.parquet", options.ledger)
        return {
            "path": str(path),
            "records": [
                {"form": some.form, "files": len(some.files), "first_file": some.files[0]}
                for some in found
            ],
            "not_read": not_read,
            **audit_figures(build),
        }


def _recipe(found: Sequence[FoundRecords], options: AuditOptions) -> Recipe:
    sources = {
        some.form: audit_source(some.form, some.form, some.files, options.columns) for some in found
    }
    mixture = Mixture.model_validate(
        {
            "name": _NAME,
            "title": "Audit",
            "seed": 0,
            "parts": tuple(
                {"source": name, "quota": _EVERYTHING, "group": "All"} for name in sources
            ),
        }
    )
    return Recipe(mixture=mixture, sources=sources, images={}, benchmarks={})


def _link(raw: Path, folders: Mapping[str, Path]) -> None:
    raw.mkdir(parents=True)
    for name, folder in folders.items():
        (raw / name).symlink_to(folder.absolute())


class _AuditBuild(Build):
    """A build that compares images with the packs of benchmarks that were built elsewhere."""

    reports_only = True

    def __init__(self, recipe: Recipe, data: DataDir, options: AuditOptions) -> None:
        super().__init__(recipe, data)
        self._options = options

    def benchmark_matchers(self) -> list[BenchmarkMatcher]:
        return [
            prepare_matcher(read_benchmark_index(benchmark, pack), _MAX_DISTANCE_BITS)
            for benchmark, pack in self._options.packs
        ]

    def benchmark_questions(self) -> BenchmarkQuestions | None:
        files = tuple(self._options.question_packs)
        if not files:
            return None
        names = [read_question_pack(file).name for file in files]
        if repeated := {name for name in names if names.count(name) > 1}:
            problem = f"two question packs are of {sorted(repeated)[0]}"
            raise UserError("--questions", problem, "name one pack of each benchmark")
        policies = dict.fromkeys(names, ContaminationPolicy())
        digest = text_digest(*map(file_sha256, files))
        return BenchmarkQuestions(QuestionPacks(files, digest), policies)
