"""Open a dataset of the Hub for an audit: Parquet is read in place, other files are downloaded."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imp_data.audit.discovery import record_names
from imp_data.audit.place import Place
from imp_data.audit.selection import CARD, CardMetadata, Selection, parse_card, select_files
from imp_data.errors import UserError
from imp_data.manifests import UpstreamFile
from imp_data.manifests.hub_address import HubFile
from imp_data.raw.download import download
from imp_data.raw.fetch import host_of
from imp_data.raw.http_response import DownloadError, HostUnreachableError, RetryableError
from imp_data.raw.hub_client import (
    HubEntry,
    hub_endpoint,
    list_hub_files,
    request_metadata,
    resolve_hub_revision,
)
from imp_data.raw.hub_listing import OFFLINE_REMEDY
from imp_data.raw.hub_ranges import HubFiles, hub_folder
from imp_data.raw.transfer import Transfer
from imp_data.redaction import redact
from imp_data.storage.decompressed import is_compressed
from imp_data.storage.range_reader import read_object

_AGAIN = "run the same command again in some minutes"
_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".7z", ".rar")
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def hub_place(name: str, revision: str, wanted: Selection, scratch: Path, in_part: bool) -> Place:
    """Return the files of records of a dataset at a revision.

    Parquet is read in place. Other files, which are read from their first byte to their last, are
    downloaded to `scratch`, unless only the first records are wanted (`in_part`). Raise UserError
    if the Hub refuses or cannot be reached, or if the dataset has no such files.
    """
    dataset = HubFile("dataset", name, revision, "**")
    page = dataset.page(hub_endpoint())
    with _explained(page):
        dataset = dataset._replace(revision=resolve_hub_revision(dataset))
        entries = {entry.path: entry for entry in list_hub_files(dataset)}
    files = {e.path: (e.bytes, e.sha256 or dataset.revision) for e in entries.values()}
    found = HubFiles(name, dataset.revision, files)
    title = f"{name}@{dataset.revision[:8]}"
    try:
        names = record_names(page, [path for path in entries if not is_compressed(path)])
    except UserError as error:
        raise UserError(error.where, error.problem, _no_records_remedy(entries)) from None
    with _explained(page):
        request_metadata(dataset._replace(path=names[0]))  # a gated dataset is listed for everybody
    card = _read_card(found, scratch)
    names = select_files(page, names, wanted, card)
    whole = [entries[n] for n in names if not (in_part or n.lower().endswith(".parquet"))]
    local = _download(found, whole, scratch, title)
    upstream = hub_folder(scratch / "hub-files.json", found._replace(local=local))
    versions = {name: files[name][1] for name in names}
    others = {
        path: "is an archive of images that is not unpacked: unpack it, and name it in --images"
        for path in entries
        if path.lower().endswith(_ARCHIVES)
    }
    others |= {
        path: "is compressed: download it, and audit the file"
        for path in filter(is_compressed, entries)
        if path not in others
    }
    return Place(
        upstream / "records", names, title, card, upstream, dataset.revision, versions, others
    )


def _no_records_remedy(entries: dict[str, HubEntry]) -> str:
    shown = ", ".join([*entries][:10])
    return f"name another dataset, or download and convert its files: {shown}"


def _read_card(files: HubFiles, scratch: Path) -> CardMetadata:
    if CARD not in files.files:
        return CardMetadata()
    folder = hub_folder(scratch / "card-files.json", files) / "card"
    return parse_card(read_object(folder / CARD).decode("utf-8", "replace"))


def _download(
    files: HubFiles, entries: list[HubEntry], scratch: Path, title: str
) -> dict[str, str]:
    """Download files; return the path of each on this machine."""
    if not entries:
        return {}
    size = format_bytes(sum(entry.bytes for entry in entries))
    count = f"{len(entries):,} file{'s' if len(entries) > 1 else ''}"
    notice = f"{title}: {count} ({size}) to {scratch} until the audit ends"
    print(redact(f"downloading {notice}; --limit reads only the first records"), file=sys.stderr)
    hosts = {host_of(hub_endpoint())}  # may be a mirror in the network of this machine
    local = {}
    for number, entry in enumerate(entries):
        target = scratch / "downloads" / f"{number}-{entry.path.rpartition('/')[2]}"
        address = files.address(entry.path)
        stated = UpstreamFile(
            path=entry.path, url=address.url(), bytes=entry.bytes, sha256=entry.sha256
        )
        with _explained(f"{address.page(hub_endpoint())}, {entry.path}"):
            download(Transfer(stated, target, entry.path, "the Hub", hosts), [address.url()])
        local[entry.path] = str(target)
    return local


def format_bytes(count: float) -> str:
    """Return `1.2 GB` or `300 bytes`."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.{1 if unit else 0}f} {_UNITS[unit]}"


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn the errors of downloads into errors for users."""
    try:
        yield
    except RetryableError as error:
        remedy = OFFLINE_REMEDY if error.unreachable else _AGAIN
        raise UserError(where, f"cannot be read: {error}", remedy) from None
    except DownloadError as error:
        offline = isinstance(error, HostUnreachableError)
        remedy = OFFLINE_REMEDY if offline else error.remedy or _AGAIN
        raise UserError(where, str(error), remedy) from None
