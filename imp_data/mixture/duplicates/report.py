"""The duplicates report beside a mixture: duplicates.json, and duplicates.md with the same."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from imp_data.errors import UserError
from imp_data.mixture.duplicates.analysis import find_duplicates
from imp_data.mixture.folder import consistent_read
from imp_data.mixture.mixture_json import read_manifest
from imp_data.storage.atomic_write import json_text, write_text
from imp_data.storage.checked_file import invalidate
from imp_data.storage.data_dir import DataDir
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import outputs_digest, read_stamp

_JSON, _MARKDOWN = "duplicates.json", "duplicates.md"


class Section(NamedTuple):
    """A table of the report with its title; a section without rows is not shown."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def report_figures(found: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of a report that the card states, with the limits of the analysis."""
    return {
        "shared": found["same_image"]["shared"],
        "max_distance_bits": found["alike"]["max_distance_bits"],
        "clusters": found["alike"]["clusters"],
        "images": found["alike"]["images"],
        "clusters_shared": found["alike"]["shared"],
        "max_answer_words": found["contradictions"]["max_answer_words"],
        "contradictions": found["contradictions"]["questions"],
    }


def load_or_make_report(folder: Path, fingerprints: Sequence[Path]) -> dict[str, Any]:
    """Return the report that was built with the mixture in `folder`, or make one.

    Always make one where `fingerprints` are given. Raise UserError if there is no mixture.
    """
    with consistent_read(folder):
        try:
            return _built_report(folder, fingerprints) or find_duplicates(folder, fingerprints)
        except (pa.ArrowException, OSError, KeyError, TypeError, orjson.JSONDecodeError) as error:
            remedy = "find the damage with `imp-data verify`, then build or fetch the mixture again"
            raise UserError(folder, f"is not whole ({error})", remedy) from error


def _built_report(folder: Path, fingerprints: Sequence[Path]) -> dict[str, Any] | None:
    """Return the stored report if it is unaltered and describes this mixture, else None."""
    manifest = read_manifest(folder)
    data = DataDir(folder.absolute().parent.parent)
    reports = data.reports(manifest["name"])
    stamp = read_stamp(data.stamp(f"mixtures/{manifest['name']}/duplicates"))
    if fingerprints or not stamp or not _is_unaltered(reports, stamp["digest"]):
        return None
    found = read_report(reports)
    return found if found["digest"] == manifest["digest"] else None


def read_checked_report(folder: Path, digest: str) -> dict[str, Any]:
    """Return the report that its stage left with this digest. Raise UserError if it is damaged."""
    if not _is_unaltered(folder, digest):
        invalidate(folder / _JSON)
        problem = f"{_JSON} or {_MARKDOWN} is damaged: it is not as its stage wrote it"
        raise UserError(folder, problem, "run the same command again, which makes a new report")
    return read_report(folder)


def _is_unaltered(folder: Path, digest: str) -> bool:
    files = report_files(folder)
    return all(map(is_file, files)) and outputs_digest(files) == digest


def read_report(folder: Path) -> dict[str, Any]:
    """Return the report in a folder of reports."""
    found: dict[str, Any] = orjson.loads((folder / _JSON).read_bytes())
    return found


def report_sections(found: dict[str, Any]) -> Iterator[Section]:
    """Yield the tables of a report."""
    alike, conflicts = found["alike"], found["contradictions"]
    yield Section(
        f"Clusters of near-duplicate images, within {alike['max_distance_bits']} of 64 bits",
        ("images in a cluster", "clusters"),
        [(f"{n['images']:,}", f"{n['clusters']:,}") for n in alike["by_size"]],
    )
    yield Section(
        "Clusters by source: shared by two, or within one",
        ("sources", "clusters"),
        [_pair(n["sources"], n["clusters"]) for n in alike["by_sources"]],
    )
    yield Section(
        "Identical images by source: shared by two, or under several paths within one",
        ("sources", "images"),
        [_pair(n["sources"], n["images"]) for n in found["same_image"]["by_sources"]],
    )
    yield Section(
        "Questions on one image with conflicting answers, by subset",
        ("subsets", "questions"),
        [_pair(n["subsets"], n["questions"]) for n in conflicts["by_subsets"]],
    )
    yield Section(
        "Largest clusters",
        ("images", "examples"),
        [(f"{c['size']:,}", ", ".join(c["images"])) for c in alike["listed"]],
    )
    yield Section(
        "Conflicting answers",
        ("image and question", "answers, each with its samples"),
        [(f"{c['image']}: {c['question']}", _answers(c["answers"])) for c in conflicts["listed"]],
    )


def write_report(folder: Path, found: dict[str, Any]) -> None:
    """Write a report to its two files."""
    write_text(folder / _JSON, json_text(found))
    write_text(folder / _MARKDOWN, report_markdown(found))


def report_files(folder: Path) -> list[Path]:
    """Return the files of the report in a folder of reports."""
    return [folder / _JSON, folder / _MARKDOWN]


def report_markdown(found: dict[str, Any]) -> str:
    """Return a report as a Markdown page."""
    title = f"# {found['mixture']}: near-duplicates and conflicting answers"
    lines = [title, "", report_summary(found), ""]
    lines += [f"> {text}\n" for text in found["not_checked"]]
    for title, header, rows in report_sections(found):
        if rows:
            lines += [f"## {title}", "", _line(header), _line(["---"] * len(header))]
            lines += [*map(_line, rows), ""]
    return "\n".join(lines)


def report_summary(found: dict[str, Any]) -> str:
    """Return a report in one sentence."""
    counts = report_figures(found)
    return (
        f"{_count(found['samples'], 'sample')} on {_count(found['images'], 'image')}: "
        f"{_count(counts['shared'], 'image')} shared by sources, "
        f"{_count(counts['clusters'], 'cluster')} of near-duplicates, "
        f"{_count(counts['contradictions'], 'question')} with conflicting answers"
    )


def _pair(names: list[str], count: int) -> tuple[str, str]:
    one, other = names
    return (one if one == other else f"{one}, {other}", f"{count:,}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _answers(answers: dict[str, list[str]]) -> str:
    return "; ".join(f"{answer} ({', '.join(ids)})" for answer, ids in answers.items())


def _line(cells: Sequence[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "&#124;") for cell in cells)
    return f"| {' | '.join(escaped)} |"
