"""The report beside a mixture on what it says twice: neighbours.json, and the same for people."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from imp_data.errors import UserError
from imp_data.mixture.duplicates.analysis import report
from imp_data.mixture.folder import reading
from imp_data.mixture.mixture_json import read_manifest
from imp_data.storage.atomic_write import json_text, write_text
from imp_data.storage.checked_file import outdate
from imp_data.storage.data_dir import DataDir
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import digest_of_files, read_stamp

_JSON, _MARKDOWN = "neighbours.json", "neighbours.md"


class Section(NamedTuple):
    """A table with its title; no table where it has no rows."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """What the card tells of a report: counts, and the limits they were counted with."""
    return {
        "shared": found["same_image"]["shared"],
        "max_distance_bits": found["alike"]["max_distance_bits"],
        "clusters": found["alike"]["clusters"],
        "images": found["alike"]["images"],
        "clusters_shared": found["alike"]["shared"],
        "max_answer_words": found["contradictions"]["max_answer_words"],
        "contradictions": found["contradictions"]["questions"],
    }


def neighbours(folder: Path, fingerprints: Sequence[Path]) -> dict[str, Any]:
    """The report that was built with the mixture in `folder`; else one that is made now.

    It is made in any case where `fingerprints` are given. Raises UserError without a mixture.
    """
    with reading(folder):
        return _stored_or_made(folder, fingerprints)


def _stored_or_made(folder: Path, fingerprints: Sequence[Path]) -> dict[str, Any]:
    try:
        sealed = read_manifest(folder)
        data = DataDir(folder.absolute().parent.parent)
        built = data.reports(sealed["name"])
        known = read_stamp(data.stamp(f"mixtures/{sealed['name']}/neighbours"))
        if not fingerprints and known and _is_as_left(built, known["digest"]):
            found = stored(built)
            if found["digest"] == sealed["digest"]:
                return found
        return report(folder, fingerprints)
    except (pa.ArrowException, OSError, KeyError, TypeError, orjson.JSONDecodeError) as error:
        remedy = "look what with `imp-data verify`, then build it or fetch it again"
        raise UserError(folder, f"is not whole ({error})", remedy) from error


def stored_as(folder: Path, digest: str) -> dict[str, Any]:
    """The report that its stage left with this digest. Raises UserError if it is damaged."""
    if not _is_as_left(folder, digest):
        outdate(folder / _JSON)
        problem = f"{_JSON} or {_MARKDOWN} is damaged: it is not as its stage wrote it"
        raise UserError(folder, problem, "run the same command again, which makes the report anew")
    return stored(folder)


def _is_as_left(folder: Path, digest: str) -> bool:
    files = report_files(folder)
    return all(map(is_file, files)) and digest_of_files(files) == digest


def stored(folder: Path) -> dict[str, Any]:
    """The report in a folder of reports."""
    found: dict[str, Any] = orjson.loads((folder / _JSON).read_bytes())
    return found


def sections(found: dict[str, Any]) -> Iterator[Section]:
    """A report as tables."""
    alike, said = found["alike"], found["contradictions"]
    yield Section(
        f"Images that look alike, within {alike['max_distance_bits']} of 64 bits",
        ("images in a cluster", "clusters"),
        [(f"{n['images']:,}", f"{n['clusters']:,}") for n in alike["by_size"]],
    )
    yield Section(
        "Clusters that two sources share, or one has by itself",
        ("sources", "clusters"),
        [_pair(n["sources"], n["clusters"]) for n in alike["by_sources"]],
    )
    yield Section(
        "Images that two sources share, or one has under several paths",
        ("sources", "images"),
        [_pair(n["sources"], n["images"]) for n in found["same_image"]["by_sources"]],
    )
    yield Section(
        "Questions on one image that are answered in different ways",
        ("subsets", "questions"),
        [_pair(n["subsets"], n["questions"]) for n in said["by_subsets"]],
    )
    yield Section(
        "Clusters, the largest first",
        ("images", "such as"),
        [(f"{c['size']:,}", ", ".join(c["images"])) for c in alike["listed"]],
    )
    yield Section(
        "Contradictions",
        ("image and question", "answers, and the samples that give them"),
        [(f"{c['image']}: {c['question']}", _answers(c["answers"])) for c in said["listed"]],
    )


def write_report(folder: Path, found: dict[str, Any]) -> None:
    """Write a report to its two files."""
    write_text(folder / _JSON, json_text(found))
    write_text(folder / _MARKDOWN, markdown(found))


def report_files(folder: Path) -> list[Path]:
    """The files of the report in a folder of reports."""
    return [folder / _JSON, folder / _MARKDOWN]


def markdown(found: dict[str, Any]) -> str:
    """A report as a page."""
    lines = [f"# {found['mixture']}: what it says twice", "", summary(found), ""]
    lines += [f"> {text}\n" for text in found["not_checked"]]
    for title, header, rows in sections(found):
        if rows:
            lines += [f"## {title}", "", _line(header), _line(["---"] * len(header))]
            lines += [*map(_line, rows), ""]
    return "\n".join(lines)


def summary(found: dict[str, Any]) -> str:
    """A report in one sentence."""
    told = figures(found)
    return (
        f"{_counted(found['samples'], 'sample')} on {_counted(found['images'], 'image')}: "
        f"{_counted(told['shared'], 'image')} shared by sources, "
        f"{_counted(told['clusters'], 'cluster')} of look-alikes, "
        f"{_counted(told['contradictions'], 'question')} answered in different ways"
    )


def _pair(names: list[str], count: int) -> tuple[str, str]:
    one, other = names
    return (one if one == other else f"{one}, {other}", f"{count:,}")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _answers(answers: dict[str, list[str]]) -> str:
    return "; ".join(f"{answer} ({', '.join(ids)})" for answer, ids in answers.items())


def _line(cells: Sequence[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "&#124;") for cell in cells)
    return f"| {' | '.join(escaped)} |"
