"""Replace the globs of a manifest by the files that the Hub lists at its revision."""

import time

from pydantic import ValidationError

from imp_data.errors import UserError
from imp_data.manifests import Publication, UpstreamFile
from imp_data.manifests.hub_address import HubFile, parse_hub_url
from imp_data.manifests.lockfile import LockEntry, LockFiles
from imp_data.manifests.sources import find_path_clash
from imp_data.raw.http_response import DownloadError, RetryableError
from imp_data.raw.hub_client import HubEntry, list_hub_files

_AGAIN = "run the same command again in some minutes"
OFFLINE_REMEDY = (
    "connect this machine, or name a proxy in HTTPS_PROXY or a mirror of the Hub in HF_ENDPOINT"
)


def list_globs(published: Publication, locks: LockFiles | None) -> Publication:
    """Return the manifest with the files of its globs; list them on the Hub only once.

    The lock file keeps the list, with sizes and sha256. Raise UserError if the Hub has none.
    """
    for file in published.files:
        if locks and file.is_glob and not locks.find_listing(published, file):
            locks.add_listing(published, file, _lock_entries(published, file))
    if locks:
        return _checked(locks.expand(published))
    files = [one for file in published.files for one in _without_locks(published, file)]
    return _checked(published.model_copy(update={"files": tuple(files)}))


def list_glob(published: Publication, file: UpstreamFile) -> list[HubEntry]:
    """Return the files that a glob matches. Raise UserError if the Hub refuses or has none."""
    hub, where = _hub_file(file), f"{published.name}, files: {file.path}"
    try:
        return list_hub_files(hub)
    except RetryableError as error:  # huggingface_hub has repeated the request five times
        remedy = OFFLINE_REMEDY if error.unreachable else _AGAIN
        raise UserError(where, f"{hub.page()} cannot be listed: {error}", remedy) from None
    except DownloadError as error:
        raise UserError(where, f"{hub.page()} {error}", error.remedy or _AGAIN) from None


def _hub_file(file: UpstreamFile) -> HubFile:
    hub = parse_hub_url(file.url or "")
    assert hub is not None, "a glob has an address of the Hub"
    return hub


def _lock_entries(published: Publication, file: UpstreamFile) -> list[LockEntry]:
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return [
        LockEntry(
            path=_checked_path(published, entry.path),
            bytes=entry.bytes,
            sha256=entry.sha256,
            address=_hub_file(file)._replace(path=entry.path).url(),
            fetched=day,
            glob=file.path,
        )
        for entry in list_glob(published, file)
    ]


def _without_locks(published: Publication, file: UpstreamFile) -> list[UpstreamFile]:
    if not file.is_glob:
        return [file]
    return [
        file.model_copy(
            update={
                "path": _checked_path(published, entry.path),
                "url": _hub_file(file)._replace(path=entry.path).url(),
                "bytes": entry.bytes,
                "sha256": entry.sha256,
            }
        )
        for entry in list_glob(published, file)
    ]


def _checked_path(published: Publication, path: str) -> str:
    """Return the path of a file on the Hub. Raise UserError if it may leave the raw folder."""
    try:
        return UpstreamFile(path=path).path
    except ValidationError as error:
        problem = f"the Hub lists {path!r}: {error.errors()[0]['msg']}"
        raise UserError(published.name, problem, "narrow the glob in `files`") from None


def _checked(published: Publication) -> Publication:
    if clash := find_path_clash(file.path for file in published.files):
        remedy = "narrow the globs in `files`, so that each file is listed once"
        raise UserError(published.name, f"files: {clash}", remedy)
    return published
