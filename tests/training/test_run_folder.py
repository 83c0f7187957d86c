"""Two runs in one folder: they take turns; kills and other recipes keep foreign files."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from conftest import World
from training_runs import ADAPTER, command, finished, launch, losses, run_of, shapes

from imp_data.errors import UserError
from imp_data.storage.digests import text_digest
from imp_data.storage.locks import hold_lock
from imp_data.training.loop import run as run_module
from imp_data.training.loop.run import train
from imp_data.training.loop.run_folder import clear_stale_run, lock_path
from imp_data.training.model.merge import merge
from tests.training.test_merge import merged

__all__ = ["finished", "shapes"]
TWO_STEPS = ("--max-steps", "2")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_run_waits_for_another_run_in_its_folder_with_a_message(
    finished: Path, shapes: World, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = list[Path]()
    waiting = Thread(target=lambda: ended.extend(train(run_of(shapes, finished))))
    with hold_lock(lock_path(finished, "projector"), "projector", "another"):
        waiting.start()
        stderr = ""
        while "waits for process" not in stderr and waiting.is_alive():
            stderr += capfd.readouterr().err
            time.sleep(0.01)
        assert stderr.startswith(f"projector in {finished}: waits for process ")
        assert not ended
    waiting.join(60)
    assert [path.parent.name for path in ended] == ["projector", "adapter"]


@pytest.mark.slow
def test_two_concurrent_runs_both_succeed_and_one_trains(shapes: World, tmp_path: Path) -> None:
    words = command(shapes, tmp_path / "both", ADAPTER, *TWO_STEPS)
    pair = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sorted("is finished" in text for text in outputs) == [False, True]
    assert launch(command(shapes, tmp_path / "one", ADAPTER, *TWO_STEPS)).returncode == 0
    outcomes = [contents(tmp_path / name / "adapter" / "outcome") for name in ("both", "one")]
    assert outcomes[0] == outcomes[1]


def test_a_distributed_run_that_waited_for_another_names_the_remedy(
    finished: Path, shapes: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = finished / "projector" / "outcome"
    aside = outcome.rename(outcome.with_name("aside"))

    @contextmanager
    def meanwhile(*_: object) -> Iterator[None]:
        aside.rename(outcome)
        yield

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(run_module, "hold_lock", meanwhile)
    with pytest.raises(UserError, match="was finished by another run while this one waited"):
        train(run_of(shapes, finished))


def test_the_output_folder_is_written_last_and_finishes_a_stage(
    shapes: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    run = run_of(shapes, tmp_path, ADAPTER, max_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_stage_output", killed)
        with pytest.raises(KeyboardInterrupt):
            train(run)
    adapter = tmp_path / "adapter"
    assert (adapter / "summary.json").is_file() and not (adapter / "outcome").exists()
    before = losses(adapter)
    (outcome,) = train(run)
    assert {"README.md", "imp.json"} <= set(contents(outcome))
    assert losses(adapter) == before
    assert not (adapter / "trained.safetensors").exists()


def test_a_restarted_run_keeps_foreign_files_in_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "projector"
    clear_stale_run(tmp_path, "projector", text_digest("one recipe"))
    for name in ("outcome/imp.json", "checkpoints/checkpoint-2/a", "metrics.jsonl", "notes.md"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("text")
    before = contents(run)
    clear_stale_run(tmp_path, "projector", text_digest("one recipe"))
    assert contents(run) == before
    clear_stale_run(tmp_path, "projector", text_digest("another"))
    assert contents(run) == {
        "begun.json": text_digest("another").encode(),
        "notes.md": b"text",
    }


def test_a_repeated_merge_keeps_foreign_files_in_its_folder(world: World, tmp_path: Path) -> None:
    folder = merged("phi", world, tmp_path)
    before = contents(folder)
    card = folder / "README.md"
    card.write_text(edited := card.read_text().replace("A small model", "My model"))
    for name, text in {"notes.md": "mine", "runs/1/log": "x"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"of an earlier release")
    merge(tmp_path / "outcome", folder)
    assert contents(folder) == {
        **before,
        "README.kept-1.md": edited.encode(),
        "notes.md": b"mine",
        "runs/1/log": b"x",
    }
