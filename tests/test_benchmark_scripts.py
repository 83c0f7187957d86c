"""The scripts in benchmarks/ run manually; their imports are tested here."""

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train,mobile]'")

FILES = sorted((Path(__file__).parent.parent / "benchmarks").glob("*.py"))
# The others are what these share.
SCRIPTS = [path for path in FILES if '__name__ == "__main__"' in path.read_text()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_imports_its_modules_and_prints_its_options(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")
