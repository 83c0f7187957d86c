"""The suite prints which tests it skips."""

import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_skipped_by_its_mark(n):
    pytest.skip("no such disk")

@pytest.mark.skipif(True, reason="no such card")
def test_skipped():
    raise AssertionError

def test_that_runs():
    pass
"""
ABSENT = "import pytest\npytest.importorskip('no_such_library', reason='pip install it')\n"


def output_lines(folder: Path, *more: str) -> list[str]:
    """Return pytest's output for the tests in a folder, with this suite's conftest."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    tests = str(Path(__file__).parent)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*words, *more, str(folder)],
        cwd=folder,
        env={"PYTHONPATH": f"{tests}:{Path(__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_one_last_line_counts_the_skips_by_reason(
    processes: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "test_some.py").write_text(SKIPPING)
    (tmp_path / "test_absent.py").write_text(ABSENT)
    *_, counted, last = output_lines(tmp_path, *processes)
    assert counted == "skipped 5: 3 x no such disk; 1 x no such card; 1 x pip install it"
    assert last.startswith("1 passed, 5 skipped")


@pytest.mark.slow
def test_without_skips_there_is_no_last_line(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("def test_that_runs():\n    pass\n")
    assert not [line for line in output_lines(tmp_path) if line.startswith("skipped")]
