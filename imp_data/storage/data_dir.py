"""Paths of each stage's files in the data directory."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from imp_data.storage.paths import parse_path


class DataDir(NamedTuple):
    """The data directory of one mixture.

    All mixtures share what upstream publishes. Each has its own derived files, since these depend
    on its limits and rules. Demo and real builds use different directories, so that neither
    overwrites the other.

    `upstream`, if it is stated, has the raw folders and the images instead: files that are read
    where upstream publishes them.
    """

    root: Path
    mixture_name: str = ""
    upstream: Path | None = None

    def raw(self, name: str) -> Path:
        """Return the folder of what upstream publishes under that name."""
        folder = self.root / "raw" if self.upstream is None else self.upstream
        return folder / name if name else folder

    @property
    def locks(self) -> Path:
        """The folder of lock files for manifests whose own folder is not writable."""
        return self.root / "locks"

    @property
    def images(self) -> Path:
        """The folder of images unpacked by the user; it takes precedence over archives."""
        return self.root / "images" if self.upstream is None else self.upstream / "images"

    def records(self, source: str) -> Path:
        return self._own("records") / f"{source}.arrow"

    def ledger(self, source: str) -> Path:
        return self._own("ledger") / f"{source}.parquet"

    def fingerprints(self, mixture: str, source: str) -> Path:
        """Return the file of fingerprints of the images that a mixture's sampling reaches."""
        return self.root / "fingerprints" / mixture / f"{source}.parquet"

    def journal(self, source: str) -> Path:
        """Return the checkpoint folder of an unfinished images stage."""
        return self._own("fingerprints") / f".{source}.journal"

    def benchmark(self, name: str) -> Path:
        return self._own("benchmarks") / f"{name}.parquet"

    def question_pack(self, name: str) -> Path:
        """Return the file of digests of a benchmark's questions."""
        return self._own("benchmarks") / f"{name}.questions.parquet"

    def _own(self, kind: str) -> Path:
        return self.root / kind / self.mixture_name if self.mixture_name else self.root / kind

    def of(self, mixture: str) -> "DataDir":
        """Return the same directory for another mixture."""
        return self._replace(mixture_name=mixture)

    def counterpart(self, path: Path, mixture: str) -> Path:
        """Return another mixture's path for `path`; `path` itself if all mixtures share it."""
        kind, *rest = path.relative_to(self.root).parts
        if kind == "raw" or not rest or rest[0] != self.mixture_name:
            return path
        return self.root.joinpath(kind, mixture, *rest[1:])

    def screened(self, mixture: str, source: str) -> Path:
        return self.root / "screened" / mixture / f"{source}.arrow"

    @property
    def mixture_names(self) -> list[str]:
        """The mixtures of which at least one stage is finished here."""
        # Not glob: a store reads the [1] of a folder's name as a pattern.
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(path.name for path in (self.root / ".stamps" / "mixtures").iterdir())
        return []

    def mixture(self, name: str) -> Path:
        return self.root / "mixtures" / name

    def reports(self, name: str) -> Path:
        """Return the folder of reports about a mixture; its own folder has a fixed digest."""
        return self.root / "reports" / name

    def model(self, name: str) -> Path:
        """Return the folder of a model's training runs and of the merged model."""
        return self.root / "models" / name

    def stamp(self, asset: str) -> Path:
        """Return the stamp of a finished stage, stored with the data so that both move together."""
        return self.root / ".stamps" / f"{asset}.json"


def data_dir(drawn: bool) -> DataDir:
    """Return the directory IMP_DATA_DIR; if unset, `data`, or `data/demo` for the demo."""
    default = "data/demo" if drawn else "data"
    root = parse_path(os.environ.get("IMP_DATA_DIR", "").strip() or default)
    # Absolute, because workers on other machines have other working directories.
    return DataDir(root.absolute())
