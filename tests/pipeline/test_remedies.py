"""No message tells a user to delete files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(PROJECT).as_posix()
    for package in ("imp_data", "assets")
    for path in (PROJECT / package).rglob("*.py")
)
# A file that a build did not write may be the only copy: messages propose to move it.
HARMFUL = re.compile(r"\b(delete|erase|wipe|remove|overwrite|rm -\w+|throw \w+ away)\b", re.I)


@pytest.mark.parametrize("module", MODULES)
def test_no_message_proposes_to_delete(module: str) -> None:
    tree = ast.parse((PROJECT / module).read_text(encoding="utf-8"))
    assert [text for text in sentences(tree) if HARMFUL.search(text)] == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('raise UserError(p, "is cut", "delete it and run it again")', True),
        ('raise UserError(p, "is cut", f"remove {p}, then run it again")', True),
        ('REMEDY = (\n    "move it, or "\n    "erase it"\n)', True),
        ('print("run rm -rf data first")', True),
        ('def gone() -> None:\n    """Delete it."""\n', False),
        ('names = ["delete"]', False),
        ('raise UserError(p, "is cut", "move it elsewhere")', False),
    ],
)
def test_a_message_that_proposes_to_delete_is_found(code: str, found: bool) -> None:
    assert any(HARMFUL.search(text) for text in sentences(ast.parse(code))) is found


def sentences(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of several words that are no docstrings; f-strings in parts."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in docstrings else ""
        if isinstance(text, str) and " " in text:
            yield text
