"""A mixture to train on: is it the one that is meant, is it whole, where are its images."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.images.reader import ImageReader, data_image_reader
from imp_data.manifests import ImageCollection, Source, load
from imp_data.manifests.earlier_names import kind_dir
from imp_data.mixture.folder import reading
from imp_data.mixture.mixture_json import check_files
from imp_data.storage.data_dir import DataDir
from imp_data.training.data.parquet_images import Release, parquet_files


class MixtureInput(NamedTuple):
    """A mixture's folder, and what its mixture.json says of it."""

    folder: Path
    name: str
    rows: int
    digest: str
    homepages: Mapping[str, str]
    """Of each source of which there are samples; none where samples are drawn by the demo."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a model's card tells of it."""
        return {"name": self.name, "rows": self.rows, "digest": self.digest}


def open_mixture(folder: Path) -> MixtureInput:
    """The mixture in a folder. Raises UserError where it is none, or not as it was written.

    Each file is read once, and held against its sha256: the shards are then mapped into memory,
    where one that is damaged would end the run or teach the model something else.
    """
    with reading(folder):
        manifest = check_files(folder)
    stated = manifest["name"], manifest["rows"], manifest["digest"]
    return MixtureInput(folder, *stated, _homepages(manifest))


def _homepages(manifest: dict[str, Any]) -> dict[str, str]:
    parts = () if manifest["drawn"] else manifest["parts"]
    return {part["source"]: part["homepage"] for part in parts if part["samples"]}


def hub_datasets(corpus: MixtureInput, manifests: Path) -> list[str]:
    """Names of the Hub's datasets that the mixture's sources are, for a model's card.

    A source is one by its homepage, or by the URL that its manifest, where it is still there,
    fetches a file from.
    """
    pages = list(corpus.homepages.values())
    for name in corpus.homepages:
        if (path := manifests / "sources" / f"{name}.yaml").is_file():
            pages += [file.url for file in load(path, Source).files if file.url]
    return sorted({match[1] for page in pages if (match := _HUB_DATASET.match(page))})


_HUB_DATASET = re.compile(r"https://huggingface\.co/datasets/([\w.-]+/[\w.-]+)")


def chosen(corpora: Sequence[MixtureInput], name: str, stage: str) -> MixtureInput:
    """The corpus that a stage's manifest names."""
    for corpus in corpora:
        if corpus.name == name:
            return corpus
    given = ", ".join(f"{c.folder} is {c.name}" for c in corpora) or "none is given"
    raise UserError(
        f"stages.{stage}.mixture",
        f"the manifest names the mixture {name}; {given}",
        f"give the folder of {name} with --mixture, or name another mixture in the manifest",
    )


def images_of(corpus: MixtureInput, manifests: Path, place: Path | None) -> ImageReader | Release:
    """What reads the mixture's images: where it was built, or in the folder that is named, as
    files or in parquet files."""
    if place is None:
        return shelf_of(corpus, manifests)
    if not place.is_dir():
        raise UserError(place, "is no folder", "name one with images, or with parquet files")
    return Release(place) if parquet_files(place) else ImageReader(place, place, ())


def shelf_of(corpus: MixtureInput, manifests: Path) -> ImageReader:
    """Where the mixture's images are: below its own data directory, in the folders and archives
    that the manifests of images name."""
    data = DataDir(corpus.folder.absolute().parent.parent)
    folders = [
        (path.stem, folder)
        for path in sorted(kind_dir(manifests, "images").glob("*.yaml"))
        for folder in load(path, ImageCollection).folders
    ]
    folders.sort(key=lambda pair: (-len(pair[1].path), pair[1].path))
    return data_image_reader(data, tuple(folders))
