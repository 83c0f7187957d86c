"""Code versions of stages follow from imports alone."""

import ast
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imp_data.pipeline.stages import _ENTRIES as ENTRIES
from imp_data.storage.code_version import (
    PACKAGE,
    code_version,
    code_version_in,
    counted_code,
    plain_source,
)

COMMANDS = {
    "train": "imp_data.training.cli:train",
    "merge": "imp_data.training.cli:merge",
    "phone": "imp_data.mobile.cli:bundle",
    "evaluate": "imp_data.training.cli:evaluate",
    "preflight": "imp_data.training.data.preflight",
    "held_out": "demo.held_out",
}
STAGES = {**ENTRIES, **COMMANDS}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the package, to alter, with a copy of demo beside it."""
    folder = tmp_path_factory.mktemp("code")
    for name in ("imp_data", "demo"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE.parent / name, folder / name, ignore=unwanted)
    return folder / "imp_data"


def file_of(package: Path, name: str) -> Path:
    module = package.parent / name.partition(":")[0].replace(".", "/")
    places = (module.with_name(f"{module.name}.py"), module / "__init__.py")
    found = [path for path in places if path.is_file()]
    return found[0] if found else next(package.rglob(name))


def altered(package: Path, name: str, text: str, entry: str) -> str:
    """Return a stage's version with `text` appended to a file; restore the file."""
    path = file_of(package, name)
    before = path.read_bytes()
    try:
        path.write_bytes(before + text.encode())
        return code_version_in(package, entry)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("stage", STAGES)
def test_a_change_in_any_module_below_a_stage_changes_its_version(
    stage: str, package: Path
) -> None:
    entry = STAGES[stage]
    version = code_version(entry)
    assert code_version_in(package, entry) == version
    for name in counted_code([entry]):
        assert altered(package, name, "\nchanged = True\n", entry) != version, name
    assert code_version_in(package, entry) == version


@pytest.mark.parametrize("stage", ENTRIES)
def test_modules_above_or_beside_a_stage_do_not_change_its_version(
    stage: str, package: Path
) -> None:
    entry = ENTRIES[stage]
    below = {name.partition(":")[0] for name in counted_code([entry])}
    others = {
        *("pipeline.build", "cli", "pipeline.run_all", "mixture.verify", "pipeline.checks"),
        *("training.loop.run", "mobile.measure.parity"),
    }
    names = {f"imp_data.{name}" for name in others} | set(ENTRIES.values()) - {entry}
    assert not below & {f"imp_data.{name}" for name in others}
    for name in names - below:
        assert altered(package, name, "\nchanged = True\n", entry) == code_version(entry), name


def test_the_versions_cover_modules_that_earlier_lists_omitted() -> None:
    below = {
        stage: {n.removeprefix("imp_data.") for n in counted_code([e])}
        for stage, e in ENTRIES.items()
    }
    assert below["screened"] >= {
        *("screening.decontamination.benchmark_index", "images.fingerprint_cache"),
        *("pipeline.sampling_inputs", "screening.near_duplicates", "images.hamming"),
    }
    assert below["images"] >= {
        *("screening.decontamination.benchmark_index", "images.checkpoint", "images.phash"),
        "parallel.worker",
    }
    assert below["records"] >= {
        *("parallel.local", "parallel.progress", "records.layouts.llava", "storage.tables"),
    }
    assert below["card"] >= {"card.md.j2", "duplicates.md.j2"}
    assert not [name for name in below["card"] if name.startswith(("records", "raw"))]
    assert not [
        name for name in below["raw"] if name.startswith(("records", "images", "screening"))
    ]


def small(folder: Path, **files: str) -> Path:
    package = folder / "imp_data"
    for name, text in {"__init__": "", **files}.items():
        path = package / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


def names_below(package: Path, *entries: str) -> set[str]:
    return {name.removeprefix("imp_data.") for name in counted_code(entries, package)}


def test_imports_at_any_place_count_except_those_for_type_checkers(tmp_path: Path) -> None:
    package = small(
        tmp_path,
        stage="from typing import TYPE_CHECKING\nimport imp_data.plain\n"
        "if TYPE_CHECKING:\n    from imp_data.types import T\nelse:\n    from . import other\n"
        "def lazy():\n    try:\n        from .tools.deep import f\n"
        "    except ImportError:\n        from imp_data import last\n",
        plain="",
        types="",
        other="",
        last="import json\nimport imp_data.cycle",
        cycle="import imp_data.last",
        unrelated="",
        **{"tools.__init__": "", "tools.deep": "def f(): pass", "tools.beside": ""},
    )
    found = {"stage", "plain", "other", "last", "cycle", "tools", "tools.deep"}
    assert names_below(package, "imp_data.stage") == found


def test_only_the_function_of_a_command_counts(tmp_path: Path) -> None:
    package = small(
        tmp_path,
        cli="def one():\n    from imp_data import a\n    help()\n"
        "def two():\n    from imp_data import b\n"
        "def help():\n    from imp_data import c\n",
        a="",
        b="",
        c="",
    )
    assert names_below(package, "imp_data.cli:one") == {"cli:one", "a", "c"}
    (package / "cli.py").write_text((package / "cli.py").read_text().replace("two", "three"))
    before = code_version_in(package, "imp_data.cli:one")
    (package / "cli.py").write_text((package / "cli.py").read_text().replace("help()", "help( )"))
    assert code_version_in(package, "imp_data.cli:one") != before


def test_the_package_itself_counts_only_if_its_version_is_read(tmp_path: Path) -> None:
    package = small(tmp_path, a="import imp_data.b", b="", c="from imp_data import __version__")
    assert names_below(package, "imp_data.a") == {"a", "b"}
    assert names_below(package, "imp_data.c") == {"c", "imp_data"}


def test_comments_docstrings_and_empty_lines_do_not_change_the_version(tmp_path: Path) -> None:
    kept = 'x = "#, kept"{0}\ndef f():\n    {1}return """a\n\n# b"""'
    package = small(tmp_path, a=kept.format("", ""))
    before = code_version_in(package, "imp_data.a")
    told = kept.format("  # gone\n\n", '"""Gone,\n    gone."""\n    # gone\n\n    ')
    small(tmp_path, a=f'"""Gone."""\n\n{told}  # gone\n\n')
    assert code_version_in(package, "imp_data.a") == before
    small(tmp_path, a=kept.format("", "").replace("# b", "# c"))
    assert code_version_in(package, "imp_data.a") != before
    small(tmp_path, a=kept.format("", "").replace("#, kept", "#, other"))
    assert code_version_in(package, "imp_data.a") != before


class _Blank(ast.NodeTransformer):
    """Removes docstrings; replaces one that is a whole body by `...`."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        kinds = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False):
            node.body[:1] = [] if node.body[1:] else [ast.Expr(ast.Constant(...))]
        return node


def test_the_counted_source_compiles_to_the_same_code() -> None:
    for path in PACKAGE.rglob("*.py"):
        source = path.read_bytes()
        plain = plain_source(source, ast.parse(source))
        assert ast.dump(ast.parse(plain)) == ast.dump(_Blank().visit(ast.parse(source))), path


def test_one_thread_parses_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "birds"
    package.mkdir()
    for name in ("__init__", *"abcdefgh"):
        (package / f"{name}.py").write_text(f"WORD = '{name}'")
    parsing, most = [0], [0]
    parse = ast.parse

    def counted(*arguments: Any, **options: Any) -> Any:
        parsing[0] += 1
        most[0] = max(most[0], parsing[0])
        time.sleep(0.01)
        parsing[0] -= 1
        return parse(*arguments, **options)

    monkeypatch.setattr("imp_data.storage.code_version.ast.parse", counted)
    with ThreadPoolExecutor(8) as threads:
        versions = threads.map(lambda name: code_version_in(package, f"birds.{name}"), "abcdefgh")
        assert len(set(versions)) == 8
    assert most == [1]
