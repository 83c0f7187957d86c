"""Read the images of a mixture in the data directory in which it was built."""

from pathlib import Path
from typing import NamedTuple

from imp_data.images.reader import ImageReader, data_image_reader
from imp_data.manifests import ImageCollection, ImageFolder, Source, load_manifest
from imp_data.manifests.earlier_names import kind_dir
from imp_data.storage.data_dir import DataDir
from imp_data.storage.embedded_names import split_embedded


def open_built_images(folder: Path, manifests: Path) -> ImageReader:
    """Return a reader of the images in the data directory of a mixture's folder.

    The manifests of images name the folders and archives.
    """
    data = DataDir(folder.absolute().parent.parent)
    return data_image_reader(data, _folders(load_collections(manifests)))


def load_collections(manifests: Path) -> dict[str, ImageCollection]:
    """Return the collections of images by the names of their manifests."""
    paths = sorted(kind_dir(manifests, "images").glob("*.yaml"))
    return {path.stem: load_manifest(path, ImageCollection) for path in paths}


def _folders(collections: dict[str, ImageCollection]) -> tuple[tuple[str, ImageFolder], ...]:
    folders = [(name, one) for name, some in collections.items() for one in some.all_folders]
    return tuple(sorted(folders, key=lambda pair: (-len(pair[1].path), pair[1].path)))


class ImageOrigin(NamedTuple):
    """Where an image comes from: a collection, or a source whose records contain it."""

    name: str
    license: str


class ImageOrigins:
    """Finds the publication of an image, and its licence, by the image's path."""

    def __init__(self, manifests: Path) -> None:
        self._manifests = manifests
        collections = load_collections(manifests)
        self._folders = _folders(collections)
        self._known = {n: ImageOrigin(n, one.license) for n, one in collections.items()}

    def find(self, image: str) -> ImageOrigin | None:
        """Return the origin of an image; None if no manifest names a place for it."""
        if embedded := split_embedded(image):
            return self._source(embedded[0].partition("/")[0])
        for collection, folder in self._folders:
            if image.startswith(folder.path + "/"):
                return self._known[collection]
        return None

    def names(self) -> set[str]:
        """Return the names of all collections, and of the sources that may contain images."""
        sources = (path.stem for path in (self._manifests / "sources").glob("*.yaml"))
        return {name for name in self._known if not name.startswith("source ")} | {*sources}

    def _source(self, name: str) -> ImageOrigin | None:
        key = f"source {name}"
        path = self._manifests / "sources" / f"{name}.yaml"
        if key not in self._known and path.is_file():
            self._known[key] = ImageOrigin(name, load_manifest(path, Source).license)
        return self._known.get(key)
