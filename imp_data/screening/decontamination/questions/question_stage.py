"""The question pack of a benchmark's manifest, and the index that worker processes share."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from imp_data.manifests import Benchmark
from imp_data.manifests.benchmark_questions import QuestionColumns
from imp_data.screening.decontamination.questions.question_files import read_questions
from imp_data.screening.decontamination.questions.question_index import QuestionIndex, build_index
from imp_data.screening.decontamination.questions.question_pack import (
    build_question_pack,
    pack_figures,
    read_question_pack,
    write_question_pack,
)
from imp_data.storage.digests import file_sha256, text_digest
from imp_data.storage.globs import matching_files


class QuestionPacks(NamedTuple):
    """The files of question packs, and the digest of their content."""

    files: tuple[Path, ...]
    digest: str


def write_benchmark_questions(benchmark: Benchmark, raw: Path, out: Path) -> dict[str, Any]:
    """Write the question pack of a benchmark; return its figures."""
    assert benchmark.questions is not None
    paths = [path for name in benchmark.questions.files for path in matching_files(raw, name)]
    columns = benchmark.questions.columns
    pattern = None if benchmark.id_pattern is None else re.compile(benchmark.id_pattern)
    return write_questions(benchmark.name, paths, columns, out, pattern)


def write_questions(
    name: str,
    paths: Sequence[Path],
    columns: QuestionColumns,
    out: Path,
    id_pattern: re.Pattern[str] | None = None,
) -> dict[str, Any]:
    """Write the question pack of some files; return its figures.

    `id_pattern` finds the id of an image in what the files state, as in file names of images.
    """
    questions = [question for path in paths for question in read_questions(path, columns)]
    if id_pattern is not None:
        questions = [q._replace(image=_image_id(q.image, id_pattern)) for q in questions]
    pack = build_question_pack(name, questions)
    write_question_pack(out, pack, text_digest(*map(file_sha256, paths)))
    return pack_figures(pack)


def _image_id(image: str, pattern: re.Pattern[str]) -> str:
    found = pattern.findall(image.rsplit("/", 1)[-1])
    return found[0] if found else image


@lru_cache(maxsize=1)
def load_index(packs: QuestionPacks) -> QuestionIndex:
    """Return the index of packs, read once in each process."""
    return build_index([read_question_pack(file) for file in packs.files])
