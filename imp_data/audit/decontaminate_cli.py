"""The command `imp-data decontaminate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from imp_data.audit.options import (
    AsJson,
    Benchmarks,
    Column,
    Config,
    DatasetPath,
    Files,
    Form,
    Ignore,
    Images,
    Limit,
    Questions,
    Revision,
    Split,
    parse_columns,
    parse_form,
)
from imp_data.redaction import redact
from imp_data.terminal import out_folder, print_json


# Above 40 lines: it has a line for each option.
def decontaminate(
    path: DatasetPath,
    benchmarks: Benchmarks = None,
    questions: Questions = None,
    revision: Revision = None,
    config: Config = None,
    split: Split = None,
    files: Files = None,
    limit: Limit = None,
    images: Images = None,
    form: Form = None,
    column: Column = None,
    ignore: Ignore = None,
    out: Annotated[
        Path | None,
        out_folder("Folder to write contaminated.parquet and decontamination.json to."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the records of any dataset that have images or questions of benchmarks.

    Nothing is built, and the dataset stays as it is.
    """
    from imp_data.audit.decontaminate import decontaminate as run
    from imp_data.audit.run import AuditOptions
    from imp_data.audit.selection import Selection

    options = AuditOptions(
        images=images,
        columns=parse_columns(column or ()),
        ignored_fields=tuple(ignore or ()),
        form=parse_form(form),
        selection=Selection(files, config, split),
        revision=revision,
        limit=limit,
        benchmarks=benchmarks or (),
        questions=questions or (),
        out=out,
    )
    found = run(path, options)
    if as_json:
        print_json(found)
    else:
        _print_report(found)


def _print_report(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    rows, seen = found["rows"], found["contaminated"]
    print(redact(f"{found['path']}: {rows:,} records, {seen:,} with something of a benchmark"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("benchmark", "seen", "records"):
        table.add_column(name, justify="right" if name == "records" else "left")
    for benchmark, counts in found["benchmarks"].items():
        for what, count in counts.items():
            table.add_row(redact(benchmark), what.replace("_", " "), f"{count:,}")
    if table.rows:
        Console(highlight=False).print(table)
    for reason, count in found["not_compared"].items():
        print(f"not compared: {count:,} records, {reason}")
    for file, why in found["not_read"].items():
        print(redact(f"not read: {file}: {why}"))
