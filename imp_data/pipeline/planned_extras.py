"""What a build needs beyond its files: images by URL, and what it extracts from archives."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from imp_data.errors import UserError
from imp_data.manifests import ImageCollection, ImageUrls, UpstreamFile
from imp_data.pipeline.stages import StageContext
from imp_data.raw.extract import extracted_names
from imp_data.raw.image_urls.collection import url_collections
from imp_data.raw.image_urls.status import STATUS_FILE, read_statuses
from imp_data.raw.image_urls.url_list import UrlColumns, read_url_list
from imp_data.redaction import redact
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind
from imp_data.storage.folders import is_sidecar
from imp_data.storage.object_store import exists
from imp_data.storage.range_reader import open_file
from imp_data.storage.zip_stream import DAMAGE_ERRORS, ZipReader


class PlannedUrls(NamedTuple):
    """A list of image URLs.

    `links` is None if nothing tells their number yet, `fetched` the number of images that are there
    or failed for good. `estimated_bytes` are those of the others, None without an estimate. `note`
    says why the list cannot be read.
    """

    name: str
    file: str
    links: int | None
    fetched: int
    estimated_bytes: int | None
    license: str
    note: str = ""


class PlannedUnpacking(NamedTuple):
    """An archive of which members are extracted; `bytes` is None if only its bytes tell.

    `files` is the number of members, None if unknown. `state` is `there`, `missing`, or `unknown`.
    """

    name: str
    path: str
    bytes: int | None
    files: int | None
    state: str


def planned_urls(build: StageContext) -> Iterator[PlannedUrls]:
    """Yield the lists of image URLs that a build requests."""
    for name, manifests in build.published.items():
        folder = build.data.raw(name)
        for collection in url_collections(manifests, folder):
            if collection.urls is not None:
                yield _plan_urls(collection, collection.urls, folder)


def _plan_urls(collection: ImageCollection, urls: ImageUrls, folder: Path) -> PlannedUrls:
    links, fetched, note = urls.links, 0, ""
    try:
        if exists(folder / urls.file):
            columns = UrlColumns(urls.column, urls.name_column, urls.sha256_column)
            links = len(read_url_list(folder / urls.file, columns))
        statuses = read_statuses(folder / STATUS_FILE)
        fetched = sum(1 for one in statuses if one.status == "ok" or one.permanent)
    except UserError as error:
        note = redact(error.problem)
    estimate = urls.estimated_bytes
    if estimate is not None and links:
        estimate = estimate * max(links - fetched, 0) // links
    return PlannedUrls(
        collection.name, urls.file, links, fetched, estimate, collection.license, note
    )


def planned_unpacking(build: StageContext) -> Iterator[PlannedUnpacking]:
    """Yield the archives that a build unpacks, each once."""
    known = set[Path]()
    for name, manifests in build.published.items():
        for file in (one for manifest in manifests for one in manifest.files if one.unpack):
            archive = build.data.raw(name) / file.path
            if archive not in known:
                known.add(archive)
                yield _plan_unpacking(name, file, archive)


def _plan_unpacking(name: str, file: UpstreamFile, archive: Path) -> PlannedUnpacking:
    if exists(archive) and (names := extracted_names(archive)):
        return PlannedUnpacking(name, file.path, 0, len(names), "there")
    sizes = _member_sizes(archive, file) if exists(archive) else None
    if sizes is None:
        return PlannedUnpacking(name, file.path, None, None, "unknown")
    return PlannedUnpacking(name, file.path, sum(sizes), len(sizes), "missing")


def _member_sizes(archive: Path, file: UpstreamFile) -> list[int] | None:
    """Return the sizes that a zip's directory states; None for a tar, which has none.

    A damaged zip is reported by the build, which reads it as a whole.
    """
    try:
        with open_file(archive) as opened:
            if detect_kind(opened.read(HEAD_BYTES)) != "zip":
                return None
        with ZipReader(archive) as whole:
            return [
                info.file_size
                for info in whole.filelist
                if not info.filename.endswith("/") and not is_sidecar(info.filename)
                if any(fnmatchcase(info.filename, glob) for glob in file.unpack)
            ]
    except (*DAMAGE_ERRORS, UserError):
        return None
