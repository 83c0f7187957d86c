"""Compute a stage's code version: a digest of its module and all it imports from imp_data."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from imp_data.storage.digests import text_digest

PACKAGE = Path(__file__).parents[1]
# Strings are kept; blanks, comments and empty lines before the end of a line are removed.
_STRING_OR_LINE_END = re.compile(
    r'("""|\'\'\')(?:\\.|(?!\1).)*\1|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    r"|(?P<end>(?:[ \t]*(?:#[^\n]*)?\n)+)",
    re.DOTALL,
)
_PARSING = Lock()
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Part(NamedTuple):
    """Source text without comments and docstrings, and the absolute names that it imports."""

    text: str
    imports: tuple[str, ...]


@cache
def code_version(*entries: str) -> str:
    """Return a digest of these entries and of all modules and data files that they need.

    An entry is a module ("imp_data.records.build"), or one function of a module together with the
    functions it calls there ("imp_data.training.cli:merge"). An entry in another package beside
    imp_data adds the modules of that package that it needs. Imports within functions count; imports
    for type checkers, comments and docstrings do not.
    """
    return code_version_in(PACKAGE, *entries)


def code_version_in(package: Path, *entries: str) -> str:
    """Return the code version of entries of a package in any folder, without a cache."""
    # Python 3.11 counts the depth of all threads' syntax trees together, and raises SystemError if
    # two threads parse at a time (python/cpython issue 106905).
    with _PARSING:
        found = counted_code(entries, package)
    return text_digest(*(part for item in sorted(found.items()) for part in item))[:16]


def counted_code(entries: Iterable[str], package: Path = PACKAGE) -> dict[str, str]:
    """Return the counted text, by module or file name, of the entries and all that they need."""
    beside = {package.parent / entry.partition(".")[0] for entry in entries}
    packages = sorted({package, *beside})
    modules = {name: path for each in packages for name, path in _modules(each).items()}
    data = {name: path for each in packages for name, path in _data_files(each).items()}
    found: dict[str, str] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        module, _, function = name.partition(":")
        if name in data:
            text, imports = Part(data[name].read_text(encoding="utf-8"), ())
        else:
            path = modules[module]
            text, imports = _part(path.read_bytes(), _package_of(module, path), function)
        found[name] = text
        waiting += [needed for one in imports for needed in _needed(one, modules)]
        # Code loads a template by its file name; a template includes others by theirs.
        waiting += [name for name in data if f'"{name}"' in text]
    return found


@cache
def _modules(package: Path) -> dict[str, Path]:
    """Return the files of a package by module name."""
    found = {}
    for path in package.rglob("*.py"):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def _data_files(package: Path) -> dict[str, Path]:
    """Return the data files of a package, such as templates, by file name."""
    files = [p for p in package.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"}]
    return {path.name: path for path in files}


def _package_of(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def _needed(imported: str, modules: dict[str, Path]) -> Iterator[str]:
    """Yield the module that an imported name is or belongs to, and the packages around it.

    The outermost package counts only if a name is imported from it directly: it holds the version
    number, which alone changes no output.
    """
    name = imported
    while name and name not in modules:
        name = name.rpartition(".")[0]
    while "." in name:
        yield name
        name = name.rpartition(".")[0]
    if name and imported.count(".") == 1 and imported not in modules:
        yield name


@cache
def _part(source: bytes, package: str, function: str) -> Part:
    tree = ast.parse(source)
    body: list[ast.stmt] = tree.body if not function else _reached(tree, function)
    imports = tuple(dict.fromkeys(_imports(body, package)))
    if not function:
        return Part(plain_source(source, tree), imports)
    lines = source.splitlines(keepends=True)
    pieces = [b"".join(lines[_begin(s) - 1 : s.end_lineno]) for s in body]
    return Part("".join(plain_source(p, ast.parse(p)) for p in pieces), imports)


def _begin(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(one.lineno for one in decorators)])


def _reached(tree: ast.Module, function: str) -> list[ast.stmt]:
    """Return a function, the definitions it refers to, and all statements that define neither."""
    definitions = {s.name: s for s in tree.body if isinstance(s, _Definition)}
    reached: set[str] = set()
    waiting = {function}
    while waiting:
        reached |= waiting
        nodes = [node for name in waiting for node in ast.walk(definitions[name])]
        named = {node.id for node in nodes if isinstance(node, ast.Name)}
        waiting = (named & definitions.keys()) - reached
    return [s for s in tree.body if not isinstance(s, _Definition) or s.name in reached]


def _imports(statements: Iterable[ast.stmt], package: str) -> Iterator[str]:
    """Yield the names imported anywhere within, except imports for type checkers."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            around = package.split(".")[: len(package.split(".")) - statement.level + 1]
            parts = [*(around if statement.level else ()), *filter(None, [statement.module])]
            yield from (".".join([*parts, alias.name]) for alias in statement.names)
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from _imports(statement.orelse, package)
        else:
            yield from _imports(_within(statement), package)


def _within(statement: ast.stmt) -> Iterator[ast.stmt]:
    """The statements that are part of another."""
    for block in ("body", "orelse", "finalbody"):
        yield from getattr(statement, block, ())
    for block in ("handlers", "cases"):
        for one in getattr(statement, block, ()):
            yield from one.body


def plain_source(source: bytes, tree: ast.Module) -> str:
    """Return source without comments, empty lines and docstrings, which change no behavior."""
    lines = source.splitlines(keepends=True)
    for text, instead in sorted(_docstrings([tree, *tree.body]), key=_line, reverse=True):
        before, after = text.col_offset, text.end_col_offset
        last = text.end_lineno or text.lineno
        kept = lines[text.lineno - 1][:before] + instead + lines[last - 1][after:]
        lines[text.lineno - 1 : last] = [kept]
    whole = b"".join(lines).decode() + "\n"
    return _STRING_OR_LINE_END.sub(_without_comment, whole).strip("\n")


def _without_comment(found: re.Match[str]) -> str:
    return "\n" if found["end"] else found[0]


def _line(docstring: tuple[ast.expr, bytes]) -> int:
    return docstring[0].lineno


def _docstrings(nodes: Iterable[ast.Module | ast.stmt]) -> Iterator[tuple[ast.expr, bytes]]:
    """Yield each docstring, and its replacement, since a body must not be empty."""
    for node in nodes:
        if isinstance(node, ast.Module | _Definition) and ast.get_docstring(node, clean=False):
            first = node.body[0]
            assert isinstance(first, ast.Expr)
            yield first.value, b"" if len(node.body) > 1 else b"..."
        if not isinstance(node, ast.Module):
            yield from _docstrings(_within(node))
