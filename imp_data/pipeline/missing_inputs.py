"""The places that manifests name and that are not there: found before any work, all of them."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from imp_data.errors import UserError
from imp_data.images.reader import AmbiguousImage, DamagedMember, ImageReader, TooManyBytes
from imp_data.manifests import File, Folder, ImageCollection, Limits, Recipe, Source, spot_of
from imp_data.manifests.earlier_names import kind_dir
from imp_data.records.layouts import LAYOUTS
from imp_data.sample import Draft
from imp_data.storage.file_kinds import HEAD_BYTES, file_kind
from imp_data.storage.globs import matching
from imp_data.storage.image_paths import normal_path
from imp_data.storage.paths import has_latency

_SHOWN = 5
# Of a source whose first records name images that no folder holds, the others hardly differ.
_IMAGES_TRIED = 16
_GROUPS_TRIED = 256


class Places:
    """A recipe's places, in one data directory on this machine."""

    def __init__(self, recipe: Recipe, reader: ImageReader) -> None:
        """`reader` holds all folders of the recipe."""
        self._recipe, self._shelf = recipe, reader

    def missing(self, unbuilt: Sequence[str]) -> list[str]:
        """A sentence for each place that is not there, with its manifest's line.

        Of the sources in `unbuilt` the first records are read, to compare their images' paths with
        the folders. What a manifest's own files are still to bring is left to the stage that brings
        them; in an object store nothing is looked for, since folders cannot be listed at once.
        """
        if has_latency(self._shelf.raw):
            return []
        found: list[str] = []
        for name, source in self._recipe.sources.items():
            found += self._records(name, source)
        for name, collection in self._recipe.images.items():
            for number, folder in enumerate(collection.folders):
                found += self._folder(name, collection, number, folder)
        for name in unbuilt:
            found += self._images(name, self._recipe.sources[name])
        return found

    def _records(self, name: str, source: Source) -> Iterator[str]:
        published = {file.path for file in source.files}
        if any(file.unpack for file in self._files(name)):
            return
        raw = self._shelf.raw / name
        for number, pattern in enumerate(source.records):
            if pattern not in published and not matching(raw, pattern):
                where = self._line("sources", name, "records", number)
                yield f"{where}: {pattern} is not in {raw}; {_there(raw, pattern)}"

    def _folder(
        self, name: str, collection: ImageCollection, number: int, folder: Folder
    ) -> Iterator[str]:
        raw, wanted = self._shelf.raw / name, folder.inside
        if folder.file is None:
            loose = self._shelf.images / folder.path
            brought = any(file.unpack for file in self._files(name))
            if not brought and not (raw / wanted).is_dir() and not loose.is_dir():
                where = self._line("images", name, "folders", number, "inside")
                nearest = _deepest(raw / wanted)
                problem = f"there is no folder {raw / wanted}; {_there(nearest, Path(wanted).name)}"
                yield f"{where}: {problem}"
            return
        archive = raw / folder.file
        published = [file.path for file in self._files(name)]
        if folder.file not in published and not archive.exists():
            where = self._line("images", name, "folders", number, "file")
            listed = ", ".join(published) or "none"
            problem = f"{folder.file} is not in {raw}, and not among this manifest's `files`"
            yield f"{where}: {problem} ({listed})"
        elif wanted and (outermost := _outermost(archive, wanted)):
            where = self._line("images", name, "folders", number, "inside")
            listed = _listed(outermost, wanted)
            yield f"{where}: {archive} holds no folder {wanted}; it holds {listed}"

    def _images(self, name: str, source: Source) -> Iterator[str]:
        images = self._first_images(name, source)
        paths = [folder.path for _, folder in self._recipe.folders(source.images)]
        known = any(image.startswith(f"{path}/") for image in images for path in paths)
        if not images or known or any(map(self._is_found, images)):
            return
        named = f"the records name images such as {images[0]!r}"
        if not paths:
            others = ", ".join(sorted(p.stem for p in self._manifests("images")))
            problem = f"{named}, but no collection is named in `images`; there are: {others}"
            yield f"{self._line('sources', name, 'images')}: {problem}"
            return
        begin = ", ".join(f"{path}/" for path in paths)
        prefix = f"image_prefix {source.image_prefix!r} included, " if source.image_prefix else ""
        problem = f"{named}; {prefix}none begins with a folder of its `images`: {begin}"
        yield f"{self._line('sources', name, 'image_prefix')}: {problem}"

    def _first_images(self, name: str, source: Source) -> list[str]:
        """The images of a source's first records; none where these cannot be read yet."""
        layout, raw = LAYOUTS[source.layout], self._shelf.raw / name
        try:
            chunk = next(iter(layout.chunks(raw, source, self._recipe.mixture.limits)), None)
            groups = islice(layout.groups(chunk), _GROUPS_TRIED) if chunk else []
            drafts = [draft for rows in groups for draft in layout.assemble(rows, source)]
        except UserError:
            return []  # to be fetched first, or the records stage says what is wrong with them
        images = [d.image for d in drafts if isinstance(d, Draft) and d.image]
        return [normal_path(image) for image in images][:_IMAGES_TRIED]

    def _is_found(self, image: str) -> bool:
        try:
            self._shelf.read(image, Limits().max_image_bytes)
        except FileNotFoundError:
            return False
        except (AmbiguousImage, DamagedMember, TooManyBytes, UserError):
            return True  # something is there; its stage says what is wrong with it
        return True

    def _files(self, name: str) -> list[File]:
        """All that is published under a name, by a source and a collection together."""
        rooms = (self._recipe.sources, self._recipe.images, self._recipe.benchmarks)
        return [file for room in rooms if name in room for file in room[name].files]

    def _line(self, room: str, name: str, *location: str | int) -> str:
        path = self._manifest(room, name)
        field = ".".join(map(str, location))
        return f"{path}, {spot_of(path, *location)}, {field}"

    def _manifest(self, room: str, name: str) -> Path:
        return kind_dir(self._recipe.rooms, room) / f"{name}.yaml"

    def _manifests(self, room: str) -> list[Path]:
        return list(kind_dir(self._recipe.rooms, room).glob("*.yaml"))


def _outermost(archive: Path, wanted: str) -> list[str]:
    """What a zip has outermost, if no member is in the folder that is wanted; of a tar nothing.

    A tar has no directory: finding a member reads all of it.
    """
    if not archive.is_file():
        return []
    with archive.open("rb") as file:
        if file_kind(file.read(HEAD_BYTES)) != "zip":
            return []
    try:
        with ZipFile(archive) as whole:
            names = whole.namelist()
    except (BadZipFile, OSError):
        return []  # the images stage says so
    if any(name.startswith(f"{wanted}/") for name in names):
        return []
    depth = wanted.count("/") + 1
    return sorted({"/".join(name.split("/")[:depth]) for name in names})


def _deepest(folder: Path) -> Path:
    """The folder, or the innermost one around it that is there."""
    return next((place for place in (folder, *folder.parents) if place.is_dir()), folder)


def _there(folder: Path, wanted: str) -> str:
    names = [path.name for path in _deepest(folder).iterdir() if not path.name.startswith(".")]
    return f"{_deepest(folder)} holds {_listed(sorted(names), wanted)}"


def _listed(names: Sequence[str], wanted: str) -> str:
    """Some of the names, those that resemble the wanted one first."""
    nearest = get_close_matches(wanted, names, _SHOWN)
    ordered = [*nearest, *(name for name in names if name not in nearest)]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + more or "nothing"
