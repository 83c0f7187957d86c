"""The command `imp-data question-pack`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from imp_data.errors import UserError
from imp_data.terminal import print_json

_ROLES = ("id", "question", "answers", "options", "image")


def question_pack(
    files: Annotated[
        list[Path], typer.Argument(help="Questions of a benchmark: JSON, JSON Lines or Parquet.")
    ],
    name: Annotated[str, typer.Option(help="Name of the benchmark.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Pack to write.", dir_okay=False, writable=True)
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=NAME",
            help="A column: id, question, answers, image, options (repeat for several).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Write the digests of a benchmark's questions and answers, to find copies in any dataset."""
    from imp_data.manifests.benchmark_questions import QuestionColumns
    from imp_data.screening.decontamination.questions.question_stage import write_questions

    columns = QuestionColumns.model_validate(_columns(column or ()))
    figures = write_questions(name, files, columns, out)
    if as_json:
        print_json(figures)
        return
    print(
        f"{out}: {figures['questions']:,} questions, {figures['different']:,} different, "
        f"of {figures['images']:,} images; {figures['with_ngrams']:,} long ones"
    )


def _columns(stated: Sequence[str]) -> dict[str, str | tuple[str, ...]]:
    """Return the columns by role. Raise UserError for an unknown role."""
    columns: dict[str, str | tuple[str, ...]] = {}
    for one in stated:
        role, _, name = one.partition("=")
        if role not in _ROLES or not name:
            problem = f"{one!r} is no role and column"
            raise UserError("--column", problem, f"write ROLE=NAME; roles: {', '.join(_ROLES)}")
        columns[role] = (*columns.get(role, ()), name) if role == "options" else name
    return columns
