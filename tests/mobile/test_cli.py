"""The commands latency, quality and bundle write their reports and folders."""

import json
import sys
import warnings
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

from models import SIZE, save_model

from imp_data.mobile.gguf.export import export

# As in test_cli: typer 0.25 names functions that click 8.5 deprecates.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from imp_data.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    export(model, out, [4], [SIZE, SIZE // 2])
    return out


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["imp-data", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.slow
def test_the_commands_latency_quality_and_bundle_write_their_files(
    model: Path,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["latency", exported, "--precision", "Q4_K_M", "--runs", 1, "--threads", 1]
    assert run(monkeypatch, *words) == 0
    assert "paper, 4 bits @196" in capsys.readouterr().out
    assert len(json.loads((exported / "latency.json").read_text())["rows"]) == 2
    assert run(monkeypatch, "quality", model, exported, "--threads", 1) == 0
    assert (exported / "quality.svg").read_text().startswith("<svg")
    assert run(monkeypatch, "bundle", exported) == 0
    assert "text-Q4_K_M.gguf, vision-Q4_0-56.gguf" in capsys.readouterr().out
    # The phone folder is unchanged; its latency report is written beside it.
    laid = sorted(path.name for path in (exported / "mobile").iterdir())
    assert run(monkeypatch, "latency", exported / "mobile", "--runs", 1, "--threads", 1) == 0
    assert sorted(path.name for path in (exported / "mobile").iterdir()) == laid
    assert len(json.loads((exported / "mobile-latency.json").read_text())["rows"]) == 1
    assert run(monkeypatch, "bundle", exported, "--precision", "Q3") == 1
    assert "'Q3' is unknown" in capsys.readouterr().err
