"""The command `imp-data audit`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from imp_data.errors import UserError
from imp_data.redaction import redact
from imp_data.terminal import print_json

_Cells = tuple[str, ...]


class _Section(NamedTuple):
    """A table with its title."""

    title: str
    header: _Cells
    rows: Sequence[_Cells]


# Above 40 lines: it has a line for each option.
def audit(
    path: Annotated[Path, typer.Argument(help="A file or folder of records.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images that records name; default: the records' own."),
    ] = None,
    form: Annotated[
        str | None, typer.Option(help="Form of the records, if it is not recognised.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=NAME", help="A column with another name: question=query."),
    ] = None,
    benchmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Data directory with built benchmarks to compare images and questions with.",
        ),
    ] = None,
    questions: Annotated[
        list[Path] | None,
        typer.Option(metavar="PACK", help="Question pack of a benchmark to compare with."),
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Parquet file to write: one row for each record.")
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(metavar="REASONS", help="End with status 1 if one occurs: a,b or any."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Examine a dataset: its form, and what is wrong with records and images. Nothing is built."""
    from imp_data.audit.run import AuditOptions
    from imp_data.audit.run import audit as run_audit
    from imp_data.ledger import Reason

    wanted = _reasons(fail_on, {reason.value for reason in Reason})
    packs = find_packs(benchmarks) if benchmarks else []
    asked = question_packs_beside(packs) + (questions or [])
    options = AuditOptions(images, _columns(column or ()), _form(form), packs, asked, ledger)
    found = run_audit(path, options)
    if as_json:
        print_json(found)
    else:
        _print_tables(found)
    failing = {one["reason"] for one in found["reasons"]} & wanted
    if fail_on == "any":
        failing |= {*found["not_read"]}
    if failing:
        print(redact(f"found: {', '.join(sorted(failing))}"), file=sys.stderr)
        raise typer.Exit(1)


def _reasons(text: str | None, known: set[str]) -> set[str]:
    """Return the reasons that an option names. Raise UserError for an unknown one."""
    if text is None:
        return set()
    if text == "any":
        return known
    named = set(filter(None, text.split(",")))
    if unknown := sorted(named - known):
        listed = ", ".join(sorted(known))
        raise UserError("--fail-on", f"{', '.join(unknown)} is no reason", f"use any, or {listed}")
    return named


def _columns(stated: Sequence[str]) -> dict[str, str]:
    from imp_data.manifests.layout_names import COLUMN_ROLES

    columns = dict[str, str]()
    for one in stated:
        role, separator, name = one.partition("=")
        if not (separator and name) or role not in COLUMN_ROLES:
            problem = f"{one!r} is no role and column"
            raise UserError(
                "--column", problem, f"write ROLE=NAME; roles: {', '.join(COLUMN_ROLES)}"
            )
        columns[role] = name
    return columns


def _form(name: str | None) -> str | None:
    from imp_data.records.forms import FORMS

    if name is not None and name not in FORMS:
        raise UserError("--form", f"{name!r} is no form", f"use one of {', '.join(FORMS)}")
    return name


def find_packs(data: Path) -> list[tuple[Any, Path]]:
    """Return the benchmarks whose fingerprints are in a data directory, with their files."""
    from imp_data.manifests import Benchmark, load_manifest

    found = []
    for manifest in sorted(Path("manifests/benchmarks").glob("*.yaml")):
        name = manifest.stem.replace("-", "_")
        packs = sorted(data.glob(f"benchmarks/*/{name}.parquet"))
        found += [(load_manifest(manifest, Benchmark), pack) for pack in packs[:1]]
    if not found:
        raise UserError(
            data,
            "holds no fingerprints of a benchmark of manifests/benchmarks",
            "name the data directory of a finished build, and run the command beside manifests/",
        )
    return found


def question_packs_beside(packs: Sequence[tuple[Any, Path]]) -> list[Path]:
    """Return the question packs of benchmarks that were built with these fingerprints."""
    beside = [pack.with_name(f"{pack.stem}.questions.parquet") for _, pack in packs]
    return [pack for pack in beside if pack.is_file()]


def _print_tables(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for title, header, rows in _sections(found):
        if not rows:
            continue
        table = Table(title=title, title_justify="left")
        for name in header:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(Text(redact(cell)) for cell in row))
        console.print(table)


def _sections(found: dict[str, Any]) -> Iterator[_Section]:
    """Yield the tables that have rows."""
    forms = [(one["form"], str(one["files"]), one["first_file"]) for one in found["records"]]
    yield _Section(found["path"], ("form", "files", "first file"), forms)
    yield _Section("Files that are not read", ("file", "problem"), [*found["not_read"].items()])
    yield _Section("Records", ("outcome", "records"), _counts(found["outcomes"]))
    for title, key in (("Why records were dropped", "reasons"), ("Repairs", "repairs")):
        rows = [(one[key[:-1]], f"{one['records']:,}", one["sentence"]) for one in found[key]]
        yield _Section(title, (key[:-1], "records", ""), rows)
    yield _Section("Images", ("status", "images"), _counts(found["images"]))
    alike = found["near_duplicates"]
    content = {
        f"near-duplicate clusters within {alike['within_bits']} bits": alike["clusters"],
        "images in them": alike["images"],
        "questions with conflicting answers": found["contradictions"],
        **{f"records: {reason}": count for reason, count in found["contaminated"].items()},
    }
    yield _Section("Content", ("finding", "count"), _counts(content))
    asked = [
        (benchmark, seen.replace("_", " "), f"{count:,}")
        for benchmark, counts in found["benchmark_questions"].items()
        for seen, count in counts.items()
    ]
    yield _Section("What records have of benchmarks", ("benchmark", "seen", "records"), asked)
    text = [
        (name, *(f"{number:,.0f}" for number in numbers.values()))
        for name, numbers in found["text"].items()
    ]
    yield _Section("Text of the samples", ("", "median", "90 %", "99 %", "most"), text)
    effects = [(one["trainer"], f"{one['records']:,}", one["effect"]) for one in found["trainers"]]
    title = "What trainers do with these records"
    yield _Section(title, ("trainer", "records", "effect"), effects)


def _counts(counts: Mapping[str, int]) -> list[_Cells]:
    return [(name, f"{count:,}") for name, count in counts.items()]
