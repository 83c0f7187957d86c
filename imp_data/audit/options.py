"""The options of the commands that read a dataset without a manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from imp_data.errors import UserError

DatasetPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH_OR_HUB_ID",
        help="A file or folder of records, or a dataset of the Hugging Face Hub: OWNER/NAME.",
    ),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of the dataset; default: main.")
]
Config = Annotated[str | None, typer.Option(help="Only this config of the dataset.")]
Split = Annotated[str | None, typer.Option(help="Only this split of the dataset.")]
Files = Annotated[
    str | None, typer.Option(metavar="GLOB", help="Only the files that match: data/train-*.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N records.")]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder of the images that records name; default: the records' own."),
]
Form = Annotated[str | None, typer.Option(help="Form of the records, if it is not recognised.")]
Column = Annotated[
    list[str] | None,
    typer.Option(metavar="ROLE=NAME", help="A column with another name: question=query."),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD", help="A field without meaning for training; repeat it."),
]
Benchmarks = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Images of a benchmark to compare with: a pack, or fingerprints of `imp-data "
        "fingerprint`; a folder of packs, or a build's data directory. Repeat it for more.",
    ),
]
Questions = Annotated[
    list[Path] | None,
    typer.Option(metavar="PACK", help="Question pack of a benchmark to compare with."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


def parse_columns(stated: Sequence[str]) -> dict[str, str]:
    """Return {role: column}. Raise UserError for a text that is no role and column."""
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


def parse_form(name: str | None) -> str | None:
    """Return the name of a form. Raise UserError for another name."""
    from imp_data.records.forms import FORMS

    if name is not None and name not in FORMS:
        raise UserError("--form", f"{name!r} is no form", f"use one of {', '.join(FORMS)}")
    return name
