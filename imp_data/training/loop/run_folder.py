"""The folder of a stage's run: its lock, and the removal of files from other inputs."""

from pathlib import Path

from imp_data.manifests.model import StageName
from imp_data.storage.atomic_write import delete_path, write_text
from imp_data.storage.locks import hold_lock

# The files of a run, in the order of removal; first those that mark its output as complete.
_RUN_FILES = (
    *("begun.json", "outcome/imp.json", "outcome", "checkpoints", "run.json", "summary.json"),
    *("metrics.jsonl", "tensorboard", "trained.safetensors", "shares.json", "loss.svg"),
    *("loss.html", "preflight.json", "preflight.parquet", ".preflight.stamp.json"),
)


def lock_path(out: Path, name: StageName) -> Path:
    """Return the path of a stage's lock: beside the stage's folder, which may be cleared."""
    return out / f".{name}.lock"


def clear_stale_run(out: Path, name: StageName, inputs: str) -> None:
    """Remove the files of a run with other inputs; keep a run with these inputs, to be resumed.

    Files that a run does not write stay in the folder. `inputs` is a digest.
    """
    run = out / name
    begun = run / "begun.json"
    with hold_lock(lock_path(out, name), f"{name} in {out}"):
        if begun.is_file() and begun.read_text(encoding="utf-8") == inputs:
            return
        for name_in_run in _RUN_FILES:
            delete_path(run / name_in_run)
        write_text(begun, inputs)
