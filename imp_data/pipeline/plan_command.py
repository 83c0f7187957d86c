"""`imp-data plan MIXTURE`: what a build will download, before a byte moves."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imp_data.errors import UserError
from imp_data.storage.paths import expand_user
from imp_data.terminal import print_json

if TYPE_CHECKING:
    from imp_data.pipeline.download_plan import DownloadPlan


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
    found = plan_downloads(Build.of(Path(expand_user(named))), offline)
    if as_json:
        print_json(found.to_json(speed))
        return
    _print_table(found)
    print("\n".join([*manual_lines(found), *summary_lines(found, speed)]))


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
    Console(highlight=False).print(table)
