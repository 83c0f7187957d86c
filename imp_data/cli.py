"""The `imp-data` command."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from imp_data import __version__
from imp_data.errors import UserError
from imp_data.mobile.cli import mount as mount_mobile
from imp_data.parallel.error_json import write_error
from imp_data.redaction import guard, redacted
from imp_data.storage.paths import at_home, place
from imp_data.terminal import expand_home, print_in_any_encoding, print_json
from imp_data.training import cli as training

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    help="Instruction-tuning data for vision-language models, with an account of every record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
DEFAULT_MIXTURE = "manifests/mixtures/demo.yaml"

# Text and not a Path, which would make one slash of the two in a URL.
Folder = Annotated[str, typer.Argument(help="Folder of a mixture, or its URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def explain(
    identity: Annotated[str, typer.Argument(metavar="ID", help="An id or an upstream id.")],
    mixture: Annotated[
        str | None,
        typer.Option(
            help="Folder of a mixture, or its URL; that of IMP_MIXTURE if left out.",
            metavar="FOLDER",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell the life of one record: what was mended, where it went, and why."""
    from imp_data.mixture.ledger_queries import explain as lives_of

    folder = place(mixture) if mixture else _current_mixture()
    lives = lives_of(folder, identity)
    if not lives:
        raise UserError(
            folder / "ledger.parquet",
            f"no record has the id or upstream id {identity!r}",
            "look it up in ledger.parquet, whose columns id and upstream_id hold all there are",
        )
    if as_json:
        print_json([life._asdict() for life in lives])
        return
    print("\n\n".join("\n".join(life.lines()) for life in lives))


@app.command()
def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Tell whether a mixture is whole and unaltered; exit status 1 if it is not."""
    from imp_data.mixture.verify import foreign_files, left_behind
    from imp_data.mixture.verify import verify as problems_of

    path = place(folder)
    problems, foreign = problems_of(path), foreign_files(path)
    if as_json:
        found = {"sound": not problems, "problems": problems, "foreign": foreign}
        print(json.dumps({"mixture": redacted(folder), **found}))
    elif not problems:
        manifest = json.loads((path / "mixture.json").read_text(encoding="utf-8"))
        told = f"whole and unaltered, {manifest['rows']:,} samples, {manifest['digest']}"
        print(f"{redacted(folder)}: {told}")
    if foreign and not as_json:
        print(f"not of this mixture, and left alone: {', '.join(foreign)}", file=sys.stderr)
    if left := left_behind(path):
        told = "not of this mixture, in the folder before; the next build of it moves them here"
        print(redacted(f"{', '.join(map(str, left))}: {told}"), file=sys.stderr)
    if problems:
        if not as_json:
            print(redacted("\n".join(f"{path / problem}" for problem in problems)), file=sys.stderr)
            print("What to do: build the mixture again, or fetch it again.", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def diff(
    old: Folder,
    new: Annotated[str, typer.Argument(help="That of another build of it.")],
    as_json: AsJson = False,
) -> None:
    """Tell what changed between two builds, by source and reason."""
    from imp_data.mixture.ledger_queries import diff as changes_between

    changes = changes_between(place(old), place(new))
    if as_json:
        print_json(changes.to_dicts())
    elif changes.is_empty():
        print("No record changed its fate.")
    else:
        for row in changes.iter_rows(named=True):
            print(
                f"{row['source']}: {row['records']:,} from {row['before']} to {row['after']}"
                f", such as {row['example']}"
            )


@app.command()
def schemas(
    folder: Annotated[
        str, typer.Option(help="Where the schemas are.", metavar="FOLDER")
    ] = "schemas",
    check: Annotated[bool, typer.Option(help="Write nothing; fail if one is stale.")] = False,
) -> None:
    """Write the JSON Schemas of manifests, samples and the ledger."""
    from imp_data.manifests.json_schemas import schema_path, stale_schemas, write_schemas

    path = place(folder)
    stale = stale_schemas(path) if check else write_schemas(path)
    if check and stale:
        files = ", ".join(str(schema_path(path, name)) for name in stale)
        raise UserError(files, "does not say what the models say", "run `imp-data schemas`")
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'none, all are fresh'}")


@app.command()
def fingerprint(
    paths: Annotated[list[Path], typer.Argument(help="Folders, zips or plain tars of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Fingerprint file to write.")],
) -> None:
    """Fingerprint every image: is it whole, what is it, what does it look like."""
    from collections import Counter

    from imp_data.images.compare import fingerprint_paths

    rows, unread = fingerprint_paths(paths, out)
    statuses = Counter(row.status for row in rows)
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(statuses.items()))
    print(f"{out}: {len(rows):,} images ({told})")
    for where, why in unread.items():
        print(redacted(f"not looked into: {where}: {why}"), file=sys.stderr)
    if unread:
        raise typer.Exit(1)


@app.command()
def match(
    queries: Annotated[Path, typer.Argument(metavar="F", help="A fingerprint file.")],
    references: Annotated[Path, typer.Argument(metavar="REF", help="Another, or a pack.")],
    max_distance: Annotated[int, typer.Option(help="Hamming distance in bits.", min=0)] = 10,
    as_json: AsJson = False,
) -> None:
    """Tell which images of one file look like one of the other."""
    from imp_data.images.compare import pairs

    found = pairs(queries, references, max_distance)
    if as_json:
        print_json([pair._asdict() for pair in found])
        return
    for pair in found:
        print(f"{pair.distance_bits:>2} bits  {pair.image}  looks like  {pair.reference}")
    print(f"{len(found):,} within {max_distance} bits", file=sys.stderr)


@app.command()
def neighbours(
    folder: Folder,
    fingerprints: Annotated[
        list[Path] | None,
        typer.Option(metavar="F", help="Fingerprint files, to make the report anew with."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a mixture says twice: images that look alike, answers that disagree."""
    from imp_data.mixture.duplicates import report

    found = report.neighbours(place(folder), fingerprints or [])
    if as_json:
        print_json(found)
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(report.summary(found), *found["not_checked"], sep="\n", markup=False)
    for section in report.sections(found):
        if section.rows:
            console.print(_table(*section))


def _table(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title, title_justify="left")
    for column in header:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


# Typer reads their options; torch and llama.cpp are imported when one of them runs.
app.command()(training.train)
app.command()(training.merge)
app.command()(training.evaluate)
mount_mobile(app)


def _current_mixture() -> Path:
    from imp_data.manifests import Mixture, load
    from imp_data.storage.data_dir import data_dir

    mixture = load(
        Path(at_home(os.environ.get("IMP_MIXTURE", "").strip() or DEFAULT_MIXTURE)), Mixture
    )
    return data_dir(mixture.drawn).mixture(mixture.name)


def main() -> NoReturn:
    """Run the command; a UserError is printed without a traceback, with exit status 1."""
    print_in_any_encoding()
    guard()
    try:
        expand_home(typer.main.get_command(app))()
    except UserError as error:
        print(f"imp-data: {error}", file=sys.stderr)
        write_error(error)
        sys.exit(1)
    sys.exit(0)
