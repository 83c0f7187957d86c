"""Format a manifest's validation errors as sentences that begin with line and column."""

import json

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from imp_data.manifests.yaml_document import Node
from imp_data.manifests.yaml_scalars import quote_short, yaml_1_1_value

# Begins the tags of union members, which errors' locations contain beside names of fields.
UNION_TAG = "\0"
_MAX_PROBLEMS = 20
_MAX_NAME_CHARACTERS = 200
_NUMBER_OR_BOOLEAN = {"bool_type", "int_type", "float_type"}


def format_problems(error: ValidationError, root: Node) -> str:
    """Return `line 7, column 5, files.0.bytes: Input should be …` for each of the first 20."""
    found = _without_consequences(
        error.errors(include_url=False, include_context=False, include_input=False)
    )
    listed = "; ".join(_format_problem(one, root) for one in found[:_MAX_PROBLEMS])
    more = len(found) - _MAX_PROBLEMS
    return f"{listed}; and {more:,} more" if more > 0 else listed


def _without_consequences(found: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short if only its invalid items make it so."""
    inside = {error["loc"][:end] for error in found for end in range(len(error["loc"]))}
    return [error for error in found if error["type"] != "too_short" or error["loc"] not in inside]


def _format_problem(error: ErrorDetails, root: Node) -> str:
    location = tuple(step for step in error["loc"] if not str(step).startswith(UNION_TAG))
    message = error["msg"]
    position, node = root.locate(location)
    if error["type"] == "value_error":
        message = message.removeprefix("Value error, ")
        # If fields contradict each other, the message begins with the field to change.
        position, _ = root.locate((*location, *message.partition(":")[0].split(".")))
    if error["type"] == "extra_forbidden":
        message = "unknown field"
    hint = "" if node is None else _hint(error["type"], node)
    return f"{position}, {_dotted(location)}: {message}{hint}"


def _hint(kind: str, node: Node) -> str:
    """Return what to write instead if YAML reads the value as another type than it seems to be."""
    if node.plain is None:
        return ""
    if node.content is None and kind != "missing":
        return "; the value is empty, which is null: write a value, or leave the field out"
    shown = quote_short(node.plain)
    if kind == "string_type":
        return f'; YAML does not read {shown} as text: write "{node.plain}", in quotes'
    value = yaml_1_1_value(node.plain) if kind in _NUMBER_OR_BOOLEAN else None
    return "" if value is None else f"; {shown} is text in YAML 1.2: write {json.dumps(value)}"


def _dotted(location: tuple[int | str, ...]) -> str:
    # A key can be any text, including terminal control sequences.
    name = json.dumps(".".join(map(str, location)), ensure_ascii=False)[1:-1]
    if len(name) > _MAX_NAME_CHARACTERS:
        return f"{name[:_MAX_NAME_CHARACTERS]}…"
    return name or "(whole file)"
