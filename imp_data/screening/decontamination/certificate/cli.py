"""The command `imp-data certify`."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from imp_data.redaction import redact
from imp_data.terminal import out_folder, print_json

_MatcherName = Literal["build", "copies"]


def certify(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES", help="Folders, zips or plain tars of images.")
    ],
    out: Annotated[Path, out_folder("Folder for certificate.json, certificate.md and a chart.")],
    altered_images: Annotated[
        int, typer.Option(help="Alter at most this number of the images.", min=1)
    ] = 200,
    matcher: Annotated[
        _MatcherName,
        typer.Option(
            help="build: perceptual hashes, as builds match; copies: crops and turns too."
        ),
    ] = "build",
    max_distance: Annotated[
        int,
        typer.Option(help="Distance in bits up to which hashes match (build).", min=0, max=20),
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Measure the matcher on your images: altered copies that it finds, false matches."""
    from imp_data.screening.decontamination.certificate.certify import certify as run
    from imp_data.screening.decontamination.certificate.copy_matcher import CopyMatcher
    from imp_data.screening.decontamination.certificate.matchers import BuildMatcher, Matcher
    from imp_data.screening.decontamination.certificate.report import write_certificate

    chosen: Matcher = BuildMatcher(threshold=max_distance)
    if matcher == "copies":
        chosen = CopyMatcher()
    figures = run(images, altered_images, chosen)
    written = write_certificate(out, figures)
    if as_json:
        print_json(figures)
    else:
        _print_tables(figures)
        print("written: " + ", ".join(map(str, written)))
    _report_problems(figures["images"], len(written))
    if figures["images"]["not_read"]:
        raise typer.Exit(1)


def _report_problems(counts: dict[str, Any], written: int) -> None:
    for name, problem in counts["unusable"].items():
        print(redact(f"not used: {name}: {problem}"), file=sys.stderr)
    for name, problem in counts["not_read"].items():
        print(redact(f"not read: {name}: {problem}"), file=sys.stderr)
    if written < 3:
        missing = "no chart: it needs altair and vl-convert-python (the extra `train`)"
        print(redact(missing), file=sys.stderr)


def _print_tables(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from imp_data.screening.decontamination.certificate.tables import summary_tables

    console = Console(highlight=False)
    for title, header, rows in summary_tables(figures):
        table = Table(title=title, title_justify="left")
        for n, name in enumerate(header):
            table.add_column(name, overflow="fold", justify="right" if n else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
