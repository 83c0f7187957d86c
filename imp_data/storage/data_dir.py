"""Where each stage's files are."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from imp_data.storage.paths import place


class DataDir(NamedTuple):
    """The data directory as a mixture sees it.

    What upstream publishes is common to all mixtures; what is made of it is each one's own, since
    it depends on the mixture's limits and rules. Drawn and real builds have each their own
    directory: neither undoes the other.
    """

    root: Path
    mixture_name: str = ""

    def raw(self, name: str) -> Path:
        """What upstream publishes under that name."""
        return self.root / "raw" / name if name else self.root / "raw"

    @property
    def locks(self) -> Path:
        """What was learned of files, where the folder of their manifests cannot be written to."""
        return self.root / "locks"

    @property
    def images(self) -> Path:
        """Images a person has unpacked; looked at before any archive."""
        return self.root / "images"

    def records(self, source: str) -> Path:
        return self._own("records") / f"{source}.arrow"

    def ledger(self, source: str) -> Path:
        return self._own("ledger") / f"{source}.parquet"

    def fingerprints(self, mixture: str, source: str) -> Path:
        """Those of the images that a mixture's draw reaches."""
        return self.root / "fingerprints" / mixture / f"{source}.parquet"

    def journal(self, source: str) -> Path:
        """Fingerprints of a stage that is under way."""
        return self._own("fingerprints") / f".{source}.journal"

    def benchmark(self, name: str) -> Path:
        return self._own("benchmarks") / f"{name}.parquet"

    def _own(self, kind: str) -> Path:
        return self.root / kind / self.mixture_name if self.mixture_name else self.root / kind

    def of(self, mixture: str) -> "DataDir":
        """The same directory as another mixture sees it."""
        return self._replace(mixture_name=mixture)

    def counterpart(self, path: Path, mixture: str) -> Path:
        """Where another mixture has what this one has at `path`; the same where it is common."""
        kind, *rest = path.relative_to(self.root).parts
        if kind == "raw" or not rest or rest[0] != self.mixture_name:
            return path
        return self.root.joinpath(kind, mixture, *rest[1:])

    def screened(self, mixture: str, source: str) -> Path:
        return self.root / "screened" / mixture / f"{source}.arrow"

    @property
    def mixture_names(self) -> list[str]:
        """Those of which a stage has been finished here."""
        # Listed, since a store takes the [1] of a folder's name for a pattern in glob.
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(path.name for path in (self.root / ".stamps" / "mixtures").iterdir())
        return []

    def mixture(self, name: str) -> Path:
        return self.root / "mixtures" / name

    def reports(self, name: str) -> Path:
        """What is told of a mixture, beside it: its own folder is sealed by its digests."""
        return self.root / "reports" / name

    def model(self, name: str) -> Path:
        """The runs of a model's stages, and the model that came of them."""
        return self.root / "models" / name

    def stamp(self, asset: str) -> Path:
        """What a finished stage was built from; beside the data, so that it moves with it."""
        return self.root / ".stamps" / f"{asset}.json"


def data_dir(drawn: bool) -> DataDir:
    """IMP_DATA_DIR; where it is unset `data`, or `data/demo` for a drawn mixture."""
    default = "data/demo" if drawn else "data"
    root = place(os.environ.get("IMP_DATA_DIR", "").strip() or default)
    # Absolute, since workers on other machines have other current folders.
    return DataDir(root.absolute())
