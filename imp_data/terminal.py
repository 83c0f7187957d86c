"""What a command needs of its terminal: an encoding that never fails, and paths with `~`."""

import io
import json
import sys
from typing import Any

import click
from typer.models import TyperPath

from imp_data.storage.paths import at_home


def print_in_any_encoding() -> None:
    """Print what the terminal's encoding lacks as `\\xe9` or `\\u2026`, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """Print JSON, readable where the encoding has its characters, as `\\u00e9` where it has not."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)


def expand_home(command: click.Command) -> click.Command:
    """The command, with `~` understood in each of its paths and in those of its subcommands."""
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type = _AtHome.like(parameter.type)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            expand_home(inner)
    return command


class _AtHome(TyperPath):
    """A path whose `~` is expanded: a shell does so in `-o ~/x`, and not in `--out=~/x`."""

    @classmethod
    def like(cls, kind: click.Path) -> "_AtHome":
        """The same kind of path."""
        new = cls()
        vars(new).update(vars(kind))
        return new

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return super().convert(at_home(value) if isinstance(value, str) else value, param, ctx)
