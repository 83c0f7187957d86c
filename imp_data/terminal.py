"""Terminal output in any encoding, and command-line paths with `~`."""

import io
import json
import sys
from typing import Any

import click
import typer
from typer.models import TyperPath

from imp_data.storage.paths import expand_user


def print_in_any_encoding() -> None:
    """Print characters that the encoding lacks as `\\xe9` or `\\u2026` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """Print JSON, with escapes such as `\\u00e9` only if the encoding lacks a character."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)


def out_folder(text: str) -> Any:
    """Return the option `--out` for a folder; a file of that name is an error of usage."""
    return typer.Option("--out", "-o", help=text, file_okay=False, writable=True)


def expand_home(command: click.Command) -> click.Command:
    """Expand `~` in all path parameters of a command and its subcommands; return the command."""
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type = _ExpandedPath.copy_of(parameter.type)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            expand_home(inner)
    return command


class _ExpandedPath(TyperPath):
    """A path whose `~` is expanded: shells do so in `-o ~/x`, but not in `--out=~/x`."""

    @classmethod
    def copy_of(cls, kind: click.Path) -> "_ExpandedPath":
        """Copy the options of a path parameter."""
        new = cls()
        vars(new).update(vars(kind))
        return new

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return super().convert(expand_user(value) if isinstance(value, str) else value, param, ctx)
