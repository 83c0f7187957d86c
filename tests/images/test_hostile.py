"""Each hostile archive or image gives its reason, or the right bytes."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["archives", "images"])
def test_every_hostile_file_ends_with_its_reason(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    trials = importlib.import_module(f"trials.{kind}")
    # benchmarks/hardening.py alters more of their bytes.
    monkeypatch.setattr(trials, "_FLIPS", 32)
    outcomes = list(trials.trials(tmp_path, seed=0))
    assert len(outcomes) > 200
    assert {one.trial: one.failure for one in outcomes if one.failure} == {}
