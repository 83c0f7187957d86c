"""What is wrong with a manifest's fields, in sentences that begin with line and column."""

import json

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from imp_data.manifests.yaml_document import Node
from imp_data.manifests.yaml_scalars import earlier_meaning, shown

_MOST_PROBLEMS = 20
_MOST_NAME = 200
_NUMBER_OR_BOOLEAN = {"bool_type", "int_type", "float_type"}


def problems(error: ValidationError, root: Node) -> str:
    """`line 7, column 5, files.0.bytes: Input should be …` for each; the first 20 of them."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = "; ".join(_problem(one, root) for one in found[:_MOST_PROBLEMS])
    more = len(found) - _MOST_PROBLEMS
    return f"{told}; and {more:,} more" if more > 0 else told


def _problem(error: ErrorDetails, root: Node) -> str:
    location, message = error["loc"], error["msg"]
    spot, node = root.at(location)
    if error["type"] == "value_error":
        message = message.removeprefix("Value error, ")
        # Of fields that do not go together the message begins with the one to change.
        spot, _ = root.at((*location, *message.partition(":")[0].split(".")))
    if error["type"] == "extra_forbidden":
        message = "there is no such field"
    hint = "" if node is None else _hint(error["type"], node)
    return f"{spot}, {_dotted(location)}: {message}{hint}"


def _hint(kind: str, node: Node) -> str:
    """What to write instead, where the value is of another type than it seems to be."""
    if node.plain is None:
        return ""
    if node.content is None and kind != "missing":
        return "; nothing stands there, which is null: write a value, or leave the field out"
    if kind == "string_type":
        return f'; YAML takes {shown(node.plain)} for no text: write "{node.plain}", in quotes'
    before = earlier_meaning(node.plain) if kind in _NUMBER_OR_BOOLEAN else None
    if before is not None:
        return f"; {shown(node.plain)} is text in YAML 1.2: write {json.dumps(before)}"
    return ""


def _dotted(location: tuple[int | str, ...]) -> str:
    # Any text can be a key, that of a terminal's controls too.
    name = json.dumps(".".join(map(str, location)), ensure_ascii=False)[1:-1]
    return f"{name[:_MOST_NAME]}…" if len(name) > _MOST_NAME else name or "(whole file)"
