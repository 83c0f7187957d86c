"""Where each stage's files are."""

import os
from pathlib import Path
from typing import NamedTuple

from imp_data.manifest import Mixture
from imp_data.places import in_store, place


class DataDir(NamedTuple):
    """The data directory. Drawn and real builds have each their own: neither undoes the other."""

    root: Path

    def raw(self, name: str) -> Path:
        """What upstream publishes under that name."""
        return self.root / "raw" / name if name else self.root / "raw"

    @property
    def images(self) -> Path:
        """Pictures a person has unpacked; looked at before any archive."""
        return self.root / "images"

    def records(self, source: str) -> Path:
        return self.root / "records" / f"{source}.arrow"

    def ledger(self, source: str) -> Path:
        return self.root / "ledger" / f"{source}.parquet"

    def fingerprints(self, mixture: str, source: str) -> Path:
        """A mixture's own: which pictures are looked at depends on its quotas and rules."""
        return self.root / "fingerprints" / mixture / f"{source}.parquet"

    def journal(self, source: str) -> Path:
        """Fingerprints of a stage that is under way."""
        return self.root / "fingerprints" / f".{source}.journal"

    def benchmark(self, name: str) -> Path:
        return self.root / "benchmarks" / f"{name}.parquet"

    def screened(self, mixture: str, source: str) -> Path:
        return self.root / "screened" / mixture / f"{source}.arrow"

    @property
    def mixture_names(self) -> list[str]:
        """Those of which a stage has been finished here."""
        return sorted(path.name for path in (self.root / ".stamps" / "mixtures").glob("*"))

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


def data_dir(mixture: Mixture) -> DataDir:
    """IMP_DATA_DIR; where it is unset `data`, or `data/demo` for a drawn mixture."""
    default = "data/demo" if mixture.drawn else "data"
    root = place(os.environ.get("IMP_DATA_DIR", "").strip() or default)
    # Absolute, since workers on other machines have other current folders.
    return DataDir(root if in_store(root) else root.absolute())
