"""The command `imp-data audit`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from imp_data.errors import UserError
from imp_data.redaction import redact
from imp_data.terminal import out_folder, print_json

if TYPE_CHECKING:
    from imp_data.audit.tokens import TokenOptions

# 1 is an audit that could not be made, 2 a wrong option.
_CONDITION_MET = 3


# Above 40 lines: it has a line for each option.
def audit(
    path: DatasetPath,
    revision: Revision = None,
    config: Config = None,
    split: Split = None,
    files: Files = None,
    limit: Limit = None,
    images: Images = None,
    form: Form = None,
    column: Column = None,
    ignore: Ignore = None,
    benchmarks: Benchmarks = None,
    questions: Questions = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|NAME",
            help="Count tokens with this tokenizer: a folder, or a name in the cache of the Hub.",
        ),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Chat template: phi2 (default), qwen, phi3 or plain.")
    ] = None,
    image_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of an image: 729 (default), 576 or 196, for example."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Count the records with more tokens.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST", help="Take tokenizer, template and tokens from a model's manifest."
        ),
    ] = None,
    out: Annotated[
        Path | None, out_folder("Folder to write ledger.parquet and audit.json to.")
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITIONS",
            help="End with status 3 if one is met: any, REASON, 5% (of records dropped), "
            "REASON:5%; several with commas.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Examine a dataset: its form, and what is wrong with records and images. Nothing is built.

    Exit status: 0; 1 if the audit cannot be made; 2 for wrong options; 3 by --fail-on.
    """
    from imp_data.audit.conditions import met_conditions, parse_conditions
    from imp_data.audit.run import AuditOptions
    from imp_data.audit.run import audit as run_audit
    from imp_data.audit.selection import Selection
    from imp_data.audit.tables import print_report

    conditions = parse_conditions(fail_on)
    tokens = _token_options(tokenizer, template, image_tokens, max_tokens, model)
    chosen, stated = Selection(files, config, split), parse_columns(column or ())
    options = AuditOptions(
        images=images,
        columns=stated,
        ignored_fields=tuple(ignore or ()),
        form=parse_form(form),
        selection=chosen,
        revision=revision,
        limit=limit,
        benchmarks=benchmarks or (),
        questions=questions or (),
        tokens=tokens,
        out=out,
    )
    found = run_audit(path, options)
    if as_json:
        print_json(found)
    else:
        print_report(found)
    if met := [*met_conditions(found, conditions)]:
        print(redact(f"found: {', '.join(met)}"), file=sys.stderr)
        raise typer.Exit(_CONDITION_MET)


def _token_options(
    tokenizer: str | None,
    template: str | None,
    image_tokens: int | None,
    max_tokens: int | None,
    model: Path | None,
) -> "TokenOptions | None":
    """Return how to count tokens; an option precedes what the model's manifest states."""
    from imp_data.audit.tokens import TokenOptions, model_token_options

    stated = {"template": template, "image_tokens": image_tokens, "max_tokens": max_tokens}
    changes: dict[str, Any] = {name: value for name, value in stated.items() if value is not None}
    if model is not None:
        return model_token_options(model, tokenizer)._replace(**changes)
    if tokenizer is not None:
        return TokenOptions(tokenizer)._replace(**changes)
    if changes:
        option = f"--{next(iter(changes)).replace('_', '-')}"
        remedy = "name a tokenizer too: --tokenizer FOLDER"
        raise UserError(option, "is for counting tokens, which needs a tokenizer", remedy)
    return None
