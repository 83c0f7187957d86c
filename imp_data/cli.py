"""The `imp-data` command."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from imp_data import __version__
from imp_data.audit.cli import audit
from imp_data.audit.decontaminate_cli import decontaminate
from imp_data.errors import UserError
from imp_data.mobile.cli import mount as mount_mobile
from imp_data.parallel.error_json import write_error
from imp_data.pipeline.pack_command import pack
from imp_data.pipeline.plan_command import plan
from imp_data.raw.image_urls import cli as image_urls
from imp_data.redaction import redact, redact_output
from imp_data.release.cli import release
from imp_data.screening.decontamination.certificate.cli import certify
from imp_data.screening.decontamination.questions.cli import question_pack
from imp_data.storage.paths import expand_user, parse_path
from imp_data.terminal import expand_home, print_in_any_encoding, print_json
from imp_data.training import cli as training

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    help="Instruction-tuning data for vision-language models, with an account of every record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    suggest_commands=False,  # click suggests them itself
    context_settings={"help_option_names": ["-h", "--help"]},
)
DEFAULT_MIXTURE = "manifests/mixtures/demo.yaml"

# Text and not a Path, which would merge the two slashes of a URL.
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
            help="Folder of a mixture, or its URL; default: the mixture that IMP_MIXTURE names.",
            metavar="FOLDER",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the history of one record: repairs, outcome, and the reason."""
    from imp_data.mixture.ledger_queries import explain as record_histories

    folder = parse_path(mixture) if mixture else _current_mixture()
    histories = record_histories(folder, identity)
    if not histories:
        raise UserError(
            folder / "ledger.parquet",
            f"no record has the id or upstream id {identity!r}",
            "search the columns id and upstream_id of ledger.parquet, which list every record",
        )
    if as_json:
        print_json([history._asdict() for history in histories])
        return
    print("\n\n".join("\n".join(history.lines()) for history in histories))


@app.command()
def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Check that a mixture is complete and unaltered; exit status 1 if it is not."""
    from imp_data.mixture.mixture_json import read_manifest
    from imp_data.mixture.verify import files_to_move, foreign_files, has_earlier_card
    from imp_data.mixture.verify import verify as find_problems

    path = parse_path(folder)
    problems, foreign = find_problems(path), foreign_files(path)
    if as_json:
        found = {"sound": not problems, "problems": problems, "foreign": foreign}
        print(json.dumps({"mixture": redact(folder), **found}))
    elif not problems:
        manifest = read_manifest(path)
        copies = sum(part.get("copies", 0) for part in manifest["parts"])
        counted = f"{manifest['rows']:,} samples" + (f" ({copies:,} are copies)" if copies else "")
        result = f"whole and unaltered, {counted}, {manifest['digest']}"
        print(f"{redact(folder)}: {result}")
        if has_earlier_card(path):
            notice = "written by an earlier release; its figures agree, its wording is not checked"
            print(redact(f"{path / 'README.md'}: {notice}"), file=sys.stderr)
    if foreign and not as_json:
        print(f"not part of this mixture, ignored: {', '.join(foreign)}", file=sys.stderr)
    if left := files_to_move(path):
        notice = "not part of this mixture, in its previous folder; its next build moves them here"
        print(redact(f"{', '.join(map(str, left))}: {notice}"), file=sys.stderr)
    if problems:
        if not as_json:
            print(redact("\n".join(f"{path / problem}" for problem in problems)), file=sys.stderr)
            print("What to do: build the mixture again, or fetch it again.", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def diff(
    old: Folder,
    new: Annotated[str, typer.Argument(help="Folder of another build of the mixture, or its URL.")],
    as_json: AsJson = False,
) -> None:
    """Show which records changed their outcome between two builds, by source and reason."""
    from imp_data.mixture.ledger_queries import diff as compare_ledgers

    changes = compare_ledgers(parse_path(old), parse_path(new))
    if as_json:
        print_json(changes.to_dicts())
    elif changes.is_empty():
        print("No record changed its outcome.")
    else:
        for row in changes.iter_rows(named=True):
            print(
                f"{row['source']}: {row['records']:,} from {row['before']} to {row['after']}"
                f", for example {row['example']}"
            )


@app.command()
def schemas(
    folder: Annotated[
        str, typer.Option(help="Folder of the schemas.", metavar="FOLDER")
    ] = "schemas",
    check: Annotated[bool, typer.Option(help="Write nothing; fail if one is stale.")] = False,
) -> None:
    """Write the JSON Schemas of manifests, samples and the ledger."""
    from imp_data.manifests.json_schemas import schema_path, stale_schemas, write_schemas

    path = parse_path(folder)
    stale = stale_schemas(path) if check else write_schemas(path)
    if check and stale:
        files = ", ".join(str(schema_path(path, name)) for name in stale)
        raise UserError(files, "does not match the models", "run `imp-data schemas`")
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'none, all are fresh'}")


@app.command()
def fingerprint(
    paths: Annotated[list[Path], typer.Argument(help="Folders, zips or plain tars of images.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Fingerprint file to write.", dir_okay=False, writable=True
        ),
    ],
) -> None:
    """Fingerprint images: status, sha256, size and perceptual hash of each."""
    from collections import Counter

    from imp_data.images.compare import fingerprint_paths

    rows, unread = fingerprint_paths(paths, out)
    statuses = Counter(row.status for row in rows)
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(statuses.items()))
    print(f"{out}: {len(rows):,} images ({counts})")
    for where, why in unread.items():
        print(redact(f"not read: {where}: {why}"), file=sys.stderr)
    if unread:
        raise typer.Exit(1)


@app.command()
def match(
    queries: Annotated[Path, typer.Argument(metavar="F", help="A fingerprint file.")],
    references: Annotated[
        Path,
        typer.Argument(metavar="REF", help="Another fingerprint file, or the file of a benchmark."),
    ],
    max_distance: Annotated[
        int, typer.Option(help="Hamming distance in bits.", min=0, max=64)
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """List the images of one fingerprint file that are near-duplicates of images in another."""
    from imp_data.images.compare import match_images

    found = match_images(queries, references, max_distance)
    if as_json:
        print_json([pair._asdict() for pair in found])
        return
    for pair in found:
        print(f"{pair.distance_bits:>2} bits  {pair.image}  looks like  {pair.reference}")
    print(f"{len(found):,} within {max_distance} bits", file=sys.stderr)


Fingerprints = Annotated[
    list[Path] | None,
    typer.Option(metavar="F", help="Fingerprint files, to make a new report from."),
]


@app.command()
def duplicates(folder: Folder, fingerprints: Fingerprints = None, as_json: AsJson = False) -> None:
    """Report near-duplicate images and conflicting answers in a mixture."""
    from imp_data.mixture.duplicates import report

    found = report.load_or_make_report(parse_path(folder), fingerprints or [])
    if as_json:
        print_json(found)
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(report.report_summary(found), *found["not_checked"], sep="\n", markup=False)
    for section in report.report_sections(found):
        if section.rows:
            console.print(_table(*section))


@app.command(hidden=True)
def neighbours(folder: Folder, fingerprints: Fingerprints = None, as_json: AsJson = False) -> None:
    """Run `duplicates`; this earlier name of the command ends with the next release."""
    print("imp-data neighbours is now `imp-data duplicates`; use that name", file=sys.stderr)
    duplicates(folder, fingerprints, as_json)


def _table(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in header:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


app.command()(audit)
app.command()(decontaminate)
app.command()(pack)
app.command()(certify)
app.command()(plan)
app.command()(question_pack)
app.command()(release)
# Importing these modules imports no aiohttp, torch or llama.cpp; running a command does.
app.command()(image_urls.fetch_images)
app.command()(training.train)
app.command()(training.merge)
app.command()(training.evaluate)
mount_mobile(app)


def _current_mixture() -> Path:
    from imp_data.manifests import Mixture, load_manifest
    from imp_data.storage.data_dir import data_dir

    mixture = load_manifest(
        Path(expand_user(os.environ.get("IMP_MIXTURE", "").strip() or DEFAULT_MIXTURE)), Mixture
    )
    return data_dir(mixture.drawn).mixture(mixture.name)


def main() -> NoReturn:
    """Run the command; print a UserError or a file's OSError in two lines, with exit status 1."""
    print_in_any_encoding()
    redact_output()
    try:
        expand_home(typer.main.get_command(app))()
    except UserError as error:
        _fail(error)
    except OSError as error:
        if error.errno is None:
            raise
        # Arrow names the path in its message alone.
        where, why = error.filename or "a file", (error.strerror or str(error)).partition(". ")[0]
        remedy = "name another path, grant access or free space, then run the same command again"
        _fail(UserError(where, f"cannot be read or written ({why})", remedy))
    sys.exit(0)


def _fail(error: UserError) -> NoReturn:
    print(f"imp-data: {error}", file=sys.stderr)
    write_error(error)
    sys.exit(1)
