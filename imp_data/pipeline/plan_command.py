"""`imp-data plan MIXTURE`: what a build downloads and what its rules match, without a build."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imp_data.errors import UserError
from imp_data.redaction import redact
from imp_data.storage.paths import expand_user
from imp_data.terminal import print_json

if TYPE_CHECKING:
    from imp_data.pipeline.build import Build
    from imp_data.pipeline.download_plan import DownloadPlan

_PIPED_COLUMNS = 240


def plan(
    mixture: Annotated[
        str | None,
        typer.Argument(
            help="Manifest of a mixture (YAML); default: the one that IMP_MIXTURE names.",
            metavar="MIXTURE",
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Speed of the line, such as 50MB/s or 400Mbit/s.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server for sizes that manifests lack.")
    ] = False,
    dry: Annotated[
        bool, typer.Option("--dry", help="Show instead which records the exclusions match.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """List what a build downloads: files, sizes, licences, manual steps, disk and time."""
    from imp_data.pipeline.build import Build
    from imp_data.pipeline.download_plan import plan_downloads
    from imp_data.pipeline.download_plan_text import manual_lines, parse_rate, summary_lines

    speed = parse_rate(rate) if rate else None
    named = mixture or os.environ.get("IMP_MIXTURE", "").strip()
    if not named:
        remedy = "run `imp-data plan manifests/mixtures/imp-1m.yaml`, or set IMP_MIXTURE"
        raise UserError("imp-data plan", "names no mixture", remedy)
    build = Build.of(Path(expand_user(named)))
    if dry:
        _print_preview(build, as_json)
        return
    found = plan_downloads(build, offline)
    if as_json:
        print_json(found.to_json(speed))
        return
    _print_table(found)
    print("\n".join([*manual_lines(found), *summary_lines(found, speed)]))


def _print_preview(build: "Build", as_json: bool) -> None:
    """Print which records the exclusions match, with examples."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from imp_data.pipeline.rules_preview import preview_rules
    from imp_data.pipeline.rules_preview_output import preview_json, preview_notices, preview_tables

    found = preview_rules(build)
    if as_json:
        print_json(preview_json(found))
        return
    console = Console(highlight=False)
    for title, header, rows in preview_tables(found):
        table = Table(title=title, title_justify="left")
        for column in header:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    for notice in preview_notices(found):
        print(redact(notice), file=sys.stderr)


def _print_table(plan: "DownloadPlan") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from imp_data.pipeline.download_plan_text import table_row

    if not plan.files:
        return
    table = Table()
    for column in ("file", "size", "state", "licence", "from"):
        table.add_column(column, overflow="fold")
    for file in plan.files:
        table.add_row(*map(Text, table_row(file)))
    # Without a terminal, a row is a line: a file or a pager shows it whole.
    width = None if sys.stdout.isatty() else _PIPED_COLUMNS
    Console(highlight=False, width=width).print(table)
