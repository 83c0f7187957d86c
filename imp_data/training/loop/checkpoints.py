"""Atomic checkpoints: write aside, seal with checksums, rename; find the newest intact one."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import orjson
import xxhash

from imp_data.redaction import redact
from imp_data.storage.atomic_write import json_text, move_into_place, write_text

_SEAL = "checkpoint.json"
_PREFIX = "checkpoint-"


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of a step's checkpoint."""
    return folder / f"{_PREFIX}{step}"


def publish(aside: Path, target: Path, keep: int) -> None:
    """Seal the checkpoint in `aside`, move it to `target`, and keep the newest `keep`."""
    files = {_name(aside, f): _fingerprint(f) for f in sorted(aside.rglob("*")) if f.is_file()}
    write_text(aside / _SEAL, json_text({"files": files}))
    for file in (*(aside / name for name in files), aside / _SEAL):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    move_into_place(aside, target, _SEAL)
    for old in _list_checkpoints(target.parent)[:-keep]:
        shutil.rmtree(old)


def newest_intact(folder: Path) -> Path | None:
    """Return the newest intact checkpoint. Skip damaged ones with a warning on stderr."""
    for path in reversed(_list_checkpoints(folder)):
        problem = find_damage(path)
        if problem is None:
            return path
        print(redact(f"{path} is skipped: {problem}"), file=sys.stderr, flush=True)
    return None


def find_damage(path: Path) -> str | None:
    """Return the damage of a checkpoint, a missing or altered file of its seal; None if intact."""
    try:
        files: dict[str, Any] = orjson.loads((path / _SEAL).read_bytes())["files"]
    except (OSError, orjson.JSONDecodeError, KeyError):
        return f"it has no complete {_SEAL}"
    for name, state in files.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if _fingerprint(path / name) != state:
            return f"{name} differs from what was written"
    return None


def _list_checkpoints(folder: Path) -> list[Path]:
    """List checkpoints by step, the newest last."""
    numbered = [p for p in folder.glob(f"{_PREFIX}*") if p.name.removeprefix(_PREFIX).isdigit()]
    return sorted(numbered, key=lambda path: int(path.name.removeprefix(_PREFIX)))


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _fingerprint(file: Path) -> dict[str, Any]:
    digest = xxhash.xxh3_64()
    with file.open("rb") as opened:
        while block := opened.read(1 << 22):
            digest.update(block)
    return {"bytes": file.stat().st_size, "xxh3": digest.hexdigest()}
