"""Find all paths that manifests name and that do not exist, before any work begins."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from imp_data.errors import UserError
from imp_data.images.reader import AmbiguousImage, DamagedMember, ImageReader, TooManyBytes
from imp_data.manifests import (
    ImageCollection,
    ImageFolder,
    Limits,
    Recipe,
    Source,
    UpstreamFile,
    field_position,
)
from imp_data.manifests.earlier_names import kind_dir
from imp_data.records.all_layouts import LAYOUTS
from imp_data.sample import Draft
from imp_data.storage.embedded_names import split_embedded
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind
from imp_data.storage.globs import matches_glob, matching_files
from imp_data.storage.image_paths import normalize_path

_MAX_NAMES = 5
# If no folder holds the images of a source's first records, the other records hardly differ.
_IMAGES_TRIED = 16
_GROUPS_TRIED = 256


class InputPaths:
    """The paths that a recipe's manifests name, in one data directory."""

    def __init__(self, recipe: Recipe, reader: ImageReader) -> None:
        """Take a reader of all image folders of the recipe."""
        self._recipe, self._reader = recipe, reader

    def missing(self, unbuilt: Sequence[str]) -> list[str]:
        """Return a message for each missing path, with the line of its manifest.

        For the sources in `unbuilt`, read the first records and compare the paths of their images
        with the folders. Skip paths that a download will create.
        """
        found: list[str] = []
        for name, source in self._recipe.sources.items():
            found += self._check_records(name, source)
        for name, collection in self._recipe.images.items():
            # The folder of images that are downloaded by URL may still be missing.
            for number, folder in enumerate(() if collection.urls else collection.folders):
                found += self._check_folder(name, collection, number, folder)
        for name in unbuilt:
            found += self._check_images(name, self._recipe.sources[name])
        return found

    def _check_records(self, name: str, source: Source) -> Iterator[str]:
        published = {file.path for file in source.files}
        if any(file.unpack or file.is_glob for file in self._files(name)):
            return
        raw = self._reader.raw / name
        for number, pattern in enumerate(source.records):
            if pattern not in published and not matching_files(raw, pattern):
                where = self._line("sources", name, "records", number)
                yield f"{where}: {pattern} is not in {raw}; {_listing(raw, pattern)}"

    def _check_folder(
        self, name: str, collection: ImageCollection, number: int, folder: ImageFolder
    ) -> Iterator[str]:
        raw, wanted = self._reader.raw / name, folder.inside
        if folder.file is None:
            loose = self._reader.images / folder.path
            unpacked = any(file.unpack for file in self._files(name))
            fetched = any(
                file.path.startswith(f"{wanted}/" if wanted else "") for file in self._files(name)
            )
            if not unpacked and not fetched and not (raw / wanted).is_dir() and not loose.is_dir():
                where = self._line("images", name, "folders", number, "inside")
                nearest = _deepest(raw / wanted)
                problem = (
                    f"there is no folder {raw / wanted}; {_listing(nearest, Path(wanted).name)}"
                )
                yield f"{where}: {problem}"
            return
        archive = raw / folder.file
        published = [file.path for file in self._files(name)]
        listed_by = [file for file in self._files(name) if file.is_glob]
        is_published = folder.file in published or any(
            matches_glob(folder.file, file.path) for file in listed_by
        )
        if not is_published and not archive.exists():
            where = self._line("images", name, "folders", number, "file")
            listed = ", ".join(published) or "none"
            problem = f"{folder.file} is not in {raw}, and not among this manifest's `files`"
            yield f"{where}: {problem} ({listed})"
        elif wanted and (outermost := _outermost(archive, wanted)):
            where = self._line("images", name, "folders", number, "inside")
            listed = _join_names(outermost, wanted)
            yield f"{where}: {archive} holds no folder {wanted}; it holds {listed}"

    def _check_images(self, name: str, source: Source) -> Iterator[str]:
        images = self._first_images(name, source)
        paths = [folder.path for _, folder in self._recipe.folders(source.images)]
        begins_with_folder = any(image.startswith(f"{path}/") for image in images for path in paths)
        if not images or begins_with_folder or any(map(self._is_found, images)):
            return
        example = f"the records name images such as {images[0]!r}"
        if not paths:
            others = ", ".join(sorted(p.stem for p in self._manifests("images")))
            problem = f"{example}, but no collection is named in `images`; there are: {others}"
            yield f"{self._line('sources', name, 'images')}: {problem}"
            return
        begin = ", ".join(f"{path}/" for path in paths)
        prefix = f"image_prefix {source.image_prefix!r} included, " if source.image_prefix else ""
        problem = f"{example}; {prefix}none begins with a folder of its `images`: {begin}"
        yield f"{self._line('sources', name, 'image_prefix')}: {problem}"

    def _first_images(self, name: str, source: Source) -> list[str]:
        """Return the images of a source's first records; none if these cannot be read yet."""
        layout, raw = LAYOUTS[source.layout], self._reader.raw / name
        source = source.model_copy(update={"group_by": ()})  # which would read all records
        try:
            chunk = next(iter(layout.chunks(raw, source, self._recipe.mixture.limits)), None)
            groups = islice(layout.groups(chunk, source), _GROUPS_TRIED) if chunk else []
            drafts = [draft for rows in groups for draft in layout.assemble(rows, source)]
        except UserError:
            return []  # not downloaded yet, or the records stage reports the problem
        images = [image for d in drafts if isinstance(d, Draft) for image in d.images if image]
        elsewhere = [image for image in images if not split_embedded(image)]
        return [normalize_path(image) for image in elsewhere][:_IMAGES_TRIED]

    def _is_found(self, image: str) -> bool:
        try:
            self._reader.read(image, Limits().max_image_bytes)
        except FileNotFoundError:
            return False
        except (AmbiguousImage, DamagedMember, TooManyBytes, UserError):
            return True  # a file exists; the images stage reports the problem
        return True

    def _files(self, name: str) -> list[UpstreamFile]:
        """Return the files that all manifests of one name publish together."""
        kinds = (self._recipe.sources, self._recipe.images, self._recipe.benchmarks)
        return [file for kind in kinds if name in kind for file in kind[name].files]

    def _line(self, kind: str, name: str, *location: str | int) -> str:
        path = self._manifest(kind, name)
        field = ".".join(map(str, location))
        return f"{path}, {field_position(path, *location)}, {field}"

    def _manifest(self, kind: str, name: str) -> Path:
        return kind_dir(self._recipe.manifests_dir, kind) / f"{name}.yaml"

    def _manifests(self, kind: str) -> list[Path]:
        return list(kind_dir(self._recipe.manifests_dir, kind).glob("*.yaml"))


def _outermost(archive: Path, wanted: str) -> list[str]:
    """Return the top folders of a zip without the wanted folder; nothing for a tar.

    A tar has no directory: finding a member reads the whole file.
    """
    if not archive.is_file():
        return []
    with archive.open("rb") as file:
        if detect_kind(file.read(HEAD_BYTES)) != "zip":
            return []
    try:
        with ZipFile(archive) as whole:
            names = whole.namelist()
    except (BadZipFile, OSError):
        return []  # the images stage reports it
    if any(name.startswith(f"{wanted}/") for name in names):
        return []
    depth = wanted.count("/") + 1
    return sorted({"/".join(name.split("/")[:depth]) for name in names})


def _deepest(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), folder)


def _listing(folder: Path, wanted: str) -> str:
    nearest = _deepest(folder)
    entries = nearest.iterdir() if nearest.is_dir() else ()  # an empty store has no folder at all
    names = [path.name for path in entries if not path.name.startswith(".")]
    return f"{nearest} holds {_join_names(sorted(names), wanted)}"


def _join_names(names: Sequence[str], wanted: str) -> str:
    """Return some of the names as text, those similar to the wanted one first."""
    nearest = get_close_matches(wanted, names, _MAX_NAMES)
    ordered = [*nearest, *(name for name in names if name not in nearest)]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(ordered[:_MAX_NAMES]) + more or "nothing"
