"""Helpers of fault tests: a gallery to build from, separate processes, a small disk."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from conftest import World, encoded, photo, record

from imp_data.manifests import load_recipe
from imp_data.parallel.error_json import decode_error
from imp_data.parallel.worker import Crash, Raised, Worker
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild
from imp_data.storage.data_dir import DataDir

SIZE_PX = (40, 30)
BUILD_SCRIPT = """
import sys
from pathlib import Path
from imp_data.cli import UserError
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild
if __name__ == "__main__":
    try:
        rebuild(Build.of(Path(sys.argv[1])))
    except UserError as error:
        sys.exit(str(error))
"""


def lay_gallery(world: World, strange: Mapping[str, bytes], count: int = 40) -> None:
    """Add a source of `count` valid images, `{n}.png`, and of strange ones, each in a record."""
    shown = {f"{n}.png": encoded(photo(n, SIZE_PX)) for n in range(count)}
    world.images("photos", {**shown, **strange})
    records = [record(name, f"photos/{name}") for name in [*shown, *strange]]
    world.source("photos", records, images=["photos"])


def manifest_of(world: World) -> Path:
    return world.manifests / "mixtures" / "small.yaml"


def build_at(manifest: Path, root: Path) -> Build:
    return Build(load_recipe(manifest), DataDir(root))


def digests(build: Build) -> dict[str, str]:
    """Return digests by asset of a complete build."""
    return {asset: result.digest for asset, result in rebuild(build).items()}


def rebuild_apart(
    manifest: Path, root: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Build in a new interpreter with two workers."""
    own = {"IMP_DATA_DIR": str(root), "IMP_WORKERS": "2", **environment}
    command = [sys.executable, "-c", BUILD_SCRIPT, str(manifest)]
    return subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, check=False
    )


def outcomes(root: Path) -> dict[str, tuple[str, str | None, dict[str, Any]]]:
    """Return {upstream id: (outcome, reason, evidence)}."""
    ledger = pl.read_parquet(root / "mixtures" / "small" / "ledger.parquet")
    return {
        row["upstream_id"]: (row["outcome"], row["reason"], orjson.loads(row["evidence"] or "{}"))
        for row in ledger.to_dicts()
    }


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a separate process; return its result or raise its exception."""
    outcome = Worker().do(partial(_apart, function), arguments)
    if isinstance(outcome, Raised):
        raise decode_error(outcome.error_json)
    assert not isinstance(outcome, Crash), outcome
    return outcome


def _apart(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    os.environ["IMP_WORKERS"] = "1"
    return function(*arguments)


class Disk:
    """A small disk, mounted at a folder; needs permission to mount."""

    def __init__(self, folder: Path, kib: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        done = self._mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs")
        if done.returncode:
            pytest.skip(f"a disk cannot be mounted here ({done.stderr.strip()})")

    def remount(self, options: str) -> None:
        assert self._mount("-o", f"remount,{options}").returncode == 0

    def unmount(self) -> None:
        # Lazily: what failed may have left a file open until its error is forgotten.
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def names(self) -> list[str]:
        """Return the names of the files on it."""
        paths = self.folder.rglob("*")
        return sorted(str(p.relative_to(self.folder)) for p in paths if p.is_file())

    def _mount(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = ["mount", *options, str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False)
