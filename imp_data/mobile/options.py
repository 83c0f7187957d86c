"""What the commands on the way to the phone have in common: options, and how they are read."""

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
Threads = Annotated[int | None, typer.Option(help="Of llama.cpp; all cores if left out.", min=1)]
Images = Annotated[list[Path] | None, typer.Option("--image", help="Instead of the drawn images.")]
Question = Annotated[str, typer.Option(help="What is asked about --image.")]


def parse_precision(word: str, option: str = "--precision") -> "Precision":
    """Raises UserError that lists the known ones."""
    from imp_data.mobile.gguf.quantize import Precision

    try:
        return Precision(word)
    except ValueError as error:
        known = ", ".join(Precision)
        raise UserError(option, f"{word!r} is unknown", f"say one of {known}") from error


def runtime_settings(threads: int | None, exact: bool = False) -> "RuntimeSettings":
    """How llama.cpp is to run; on all cores unless told otherwise."""
    from imp_data.mobile.runtime.in_process import RuntimeSettings

    return RuntimeSettings(exact=exact, threads=threads or os.cpu_count() or 1)


def parse_integers(option: str, text: str) -> list[int]:
    """`384,196` as numbers. Raises UserError."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(
            option, f"{text!r} is no list of numbers", "say, for one, 384,196"
        ) from error


def require_mobile_extra() -> None:
    """Say which extra is missing instead of which module."""
    try:
        import gguf  # noqa: F401
        import xllamacpp  # noqa: F401
    except ImportError as error:
        problem = f"needs the extra [mobile] ({error.name} is not installed)"
        raise UserError("imp-data", problem, "pip install 'imp-data[mobile]'") from error
