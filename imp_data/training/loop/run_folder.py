"""The folder of a stage's run: who works in it, and what of it goes when it is begun anew."""

from pathlib import Path

from imp_data.manifests.model import StageName
from imp_data.storage.atomic_write import remove, write_text
from imp_data.storage.locks import held

# What a run leaves there; first that by which its outcome counts as whole.
_LEFT = (
    *("begun.json", "outcome/imp.json", "outcome", "checkpoints", "run.json", "summary.json"),
    *("metrics.jsonl", "tensorboard", "trained.safetensors", "shares.json", "loss.svg"),
    *("loss.html", "preflight.json", "preflight.parquet", ".preflight.stamp.json"),
)


def lock_of(out: Path, name: StageName) -> Path:
    """The lock of a stage in a run's folder: beside the stage's own, which may be cleared."""
    return out / f".{name}.lock"


def make_way(out: Path, name: StageName, inputs: str) -> None:
    """Clear a run that was begun from other inputs; one begun from these is gone on with.

    What others keep in its folder stays there. `inputs` is their digest.
    """
    run = out / name
    begun = run / "begun.json"
    with held(lock_of(out, name), f"{name} in {out}"):
        if begun.is_file() and begun.read_text(encoding="utf-8") == inputs:
            return
        for left in _LEFT:
            remove(run / left)
        write_text(begun, inputs)
