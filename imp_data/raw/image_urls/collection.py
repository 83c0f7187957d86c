"""Download the images of collections whose manifests name URLs."""

from collections.abc import Sequence
from pathlib import Path

from imp_data.errors import UserError
from imp_data.manifests import ImageCollection, ImageUrls, Publication
from imp_data.raw.image_urls.settings import FetchSettings
from imp_data.raw.image_urls.status import STATUS_FILE, UrlStatus, count_statuses
from imp_data.storage.digests import text_digest
from imp_data.storage.object_store import exists


def url_collections(manifests: Sequence[Publication], folder: Path) -> list[ImageCollection]:
    """Return the collections in a raw folder whose images are to be downloaded by URL."""
    return [m for m in manifests if isinstance(m, ImageCollection) and _is_used(m.urls, folder)]


def _is_used(urls: ImageUrls | None, folder: Path) -> bool:
    """Return whether no archive in the folder provides the images instead."""
    return urls is not None and (urls.unless is None or not exists(folder / urls.unless))


def urls_digest(collections: Sequence[ImageCollection]) -> str:
    """Return the digest of the fields that decide which URLs are requested."""
    return text_digest(*(m.urls.model_dump_json() for m in collections if m.urls))


def url_files(manifests: Sequence[Publication], folder: Path) -> list[Path]:
    """Return the list and the status file of each collection that is downloaded by URL."""
    used = [m.urls for m in url_collections(manifests, folder) if m.urls]
    return [path for urls in used for path in (folder / urls.file, folder / STATUS_FILE)]


def fetch_url_images(manifests: Sequence[Publication], folder: Path) -> dict[str, int]:
    """Download the images that are missing; return how many rows have which result.

    Raise UserError if not one image could be downloaded, because this machine is offline, or the
    list is wrong. Any other failure costs an image, and the images stage reports it as missing.
    """
    counts: dict[str, int] = {}
    for collection in url_collections(manifests, folder):
        statuses = fetch_collection(collection, folder)
        found = count_statuses(statuses)
        if statuses and not found.get("ok"):
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in found.items())
            problem = f"none of {len(statuses):,} URLs brought an image ({reasons})"
            remedy = f"connect this machine, or correct `urls`; {STATUS_FILE} has the details"
            raise UserError(folder, problem, remedy)
        counts = {key: counts.get(key, 0) + found.get(key, 0) for key in {**counts, **found}}
    return dict(sorted(counts.items()))


def fetch_collection(collection: ImageCollection, folder: Path) -> list[UrlStatus]:
    """Download the images of one collection to its raw folder; return the status of each row."""
    # aiohttp takes a third of a second to import.
    from imp_data.raw.image_urls.fetch import Target, fetch_images
    from imp_data.raw.image_urls.url_list import UrlColumns, read_url_list

    urls = collection.urls
    if urls is None:
        remedy = "add `urls` to it, or name a list of URLs"
        raise UserError(f"images/{collection.name}", "its manifest names no URLs", remedy)
    settings = FetchSettings(
        max_image_bytes=urls.max_image_bytes,
        obey_robots_tag=urls.obey_robots_tag,
        private_hosts=frozenset(urls.private_hosts),
    )
    path = folder / urls.file
    rows = read_url_list(path, UrlColumns(urls.column, urls.name_column, urls.sha256_column))
    target = Target(folder / urls.folder, folder / STATUS_FILE, f"raw/{collection.name} (URLs)")
    return fetch_images(path, rows, urls.name, target, settings)
