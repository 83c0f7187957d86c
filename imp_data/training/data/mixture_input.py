"""A mixture as training input: verify its files, select it by name, open its images."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.images.reader import ImageReader
from imp_data.manifests import Source, load_manifest
from imp_data.mixture.folder import consistent_read
from imp_data.mixture.mixture_images import open_built_images
from imp_data.mixture.mixture_json import check_files
from imp_data.training.data.parquet_images import ParquetImages, parquet_files


class MixtureInput(NamedTuple):
    """A mixture's folder, and the facts of its mixture.json."""

    folder: Path
    name: str
    rows: int
    digest: str
    homepages: Mapping[str, str]
    """Homepage by source, for sources with samples; empty for the demo's generated sources."""

    @property
    def facts(self) -> dict[str, Any]:
        """The mixture's entry in a model's card."""
        return {"name": self.name, "rows": self.rows, "digest": self.digest}


def open_mixture(folder: Path) -> MixtureInput:
    """Open the mixture in a folder. Raise UserError if it is none, or a file has changed.

    Read each file once and compare its sha256: the shards are memory-mapped afterwards, so a
    damaged one would abort the run or corrupt the training data.
    """
    with consistent_read(folder):
        manifest = check_files(folder)
    stated = manifest["name"], manifest["rows"], manifest["digest"]
    return MixtureInput(folder, *stated, _homepages(manifest))


def _homepages(manifest: dict[str, Any]) -> dict[str, str]:
    parts = () if manifest["drawn"] else manifest["parts"]
    return {part["source"]: part["homepage"] for part in parts if part["samples"]}


def hub_datasets(mixture: MixtureInput, manifests: Path) -> list[str]:
    """Return the names of the Hub datasets among the mixture's sources, for a model's card.

    A source is a Hub dataset by its homepage, or by a file's URL in its manifest, if the manifest
    still exists.
    """
    pages = list(mixture.homepages.values())
    for name in mixture.homepages:
        if (path := manifests / "sources" / f"{name}.yaml").is_file():
            pages += [file.url for file in load_manifest(path, Source).files if file.url]
    return sorted({match[1] for page in pages if (match := _HUB_DATASET.match(page))})


_HUB_DATASET = re.compile(r"https://huggingface\.co/datasets/([\w.-]+/[\w.-]+)")


def select_mixture(mixtures: Sequence[MixtureInput], name: str, stage: str) -> MixtureInput:
    """Return the mixture that a stage's manifest names."""
    for mixture in mixtures:
        if mixture.name == name:
            return mixture
    given = ", ".join(f"{c.folder} is {c.name}" for c in mixtures) or "no mixture is given"
    raise UserError(
        f"stages.{stage}.mixture",
        f"the manifest names the mixture {name}; {given}",
        f"give the folder of {name} with --mixture, or name another mixture in the manifest",
    )


def open_images(
    mixture: MixtureInput, manifests: Path, place: Path | None
) -> ImageReader | ParquetImages:
    """Return a reader of the mixture's images: where it was built, or in the folder `place`.

    The folder holds image files, or Parquet files with images.
    """
    if place is None:
        return open_built_images(mixture.folder, manifests)
    if not place.is_dir():
        raise UserError(place, "is no folder", "name a folder of images or of Parquet files")
    return ParquetImages(place) if parquet_files(place) else ImageReader(place, place, ())
