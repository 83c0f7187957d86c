"""Options shared by the mobile commands, and functions that parse them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imp_data.errors import UserError

if TYPE_CHECKING:
    from imp_data.mobile.gguf.quantize import Precision
    from imp_data.mobile.runtime.in_process import RuntimeSettings

ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a merged model.")]
ExportFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an export.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
Threads = Annotated[
    int | None, typer.Option(help="Threads of llama.cpp. Default: all cores.", min=1)
]
Images = Annotated[
    list[Path] | None, typer.Option("--image", help="Image to use instead of the built-in ones.")
]
Question = Annotated[str, typer.Option(help="Question about each --image.")]


def parse_precision(word: str, option: str = "--precision") -> "Precision":
    """Return the precision named `word`. Raise UserError that lists the known ones."""
    from imp_data.mobile.gguf.quantize import Precision

    try:
        return Precision(word)
    except ValueError as error:
        known = ", ".join(Precision)
        raise UserError(option, f"{word!r} is unknown", f"use one of {known}") from error


def runtime_settings(threads: int | None, exact: bool = False) -> "RuntimeSettings":
    """Return settings for llama.cpp; `threads` defaults to all cores."""
    from imp_data.mobile.runtime.in_process import RuntimeSettings

    return RuntimeSettings(exact=exact, threads=threads or os.cpu_count() or 1)


def parse_integers(option: str, text: str) -> list[int]:
    """Parse `384,196`. Raise UserError if a part is not an integer."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        problem = f"{text!r} is not a comma-separated list of integers"
        raise UserError(option, problem, "write, for example, 384,196") from error


def require_mobile_extra() -> None:
    """Raise UserError that names the extra to install if a library of it is missing."""
    try:
        import gguf  # noqa: F401
        import xllamacpp  # noqa: F401
    except ImportError as error:
        problem = f"this command requires the extra [mobile] ({error.name} is not installed)"
        raise UserError("imp-data", problem, "pip install 'imp-data[mobile]'") from error
