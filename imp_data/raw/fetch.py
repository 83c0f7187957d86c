"""Download, verify and extract the files of manifests."""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from imp_data.errors import REFETCH, UserError
from imp_data.manifests import Limits, Publication, UpstreamFile
from imp_data.manifests.lockfile import LockFiles
from imp_data.raw.download import download, verify_checksum
from imp_data.raw.expected_file import ExpectedFile, check_kind
from imp_data.raw.extract import extract
from imp_data.raw.host_slots import downloads_per_host
from imp_data.raw.http_response import DownloadError, HostUnreachableError
from imp_data.raw.hub_client import request_url
from imp_data.raw.hub_listing import list_globs
from imp_data.raw.threads import run_in_threads
from imp_data.raw.transfer import FREE_SPACE, DownloadStoppedError, Transfer, partial_size
from imp_data.storage.object_store import exists
from imp_data.storage.paths import files_at_once, free_bytes

_AGAIN = (
    "run the same command again, which resumes the download; if that does not help, the pinned "
    "revision has moved: correct the manifest, or put the file there yourself"
)
_RESUME = "run the same command again, which resumes the download"
OFFLINE_REMEDY = (
    "connect this machine, or name a proxy in HTTPS_PROXY or a mirror in IMP_DATA_MIRROR, then run "
    "the same command again; partial files are kept, and files put in place by hand are used"
)


class ManualDownload(NamedTuple):
    """A file to download manually, and its target; `failure`: why mirrors do not provide it."""

    file: UpstreamFile
    target: Path
    license: str
    instructions: str
    failure: str = ""

    def __str__(self) -> str:
        size = "size unknown" if self.file.bytes is None else f"{self.file.bytes:,} bytes"
        failure = f" ({self.failure})" if self.failure else ""
        summary = f"{self.target} ({size}, licence {self.license})"
        return f"{summary}\n    {self.instructions}{failure}"


def mirrors_from_environment() -> tuple[str, ...]:
    """Return the base addresses in IMP_DATA_MIRROR, separated by commas or spaces."""
    mirrors = tuple(re.findall(r"[^,\s]+", os.environ.get("IMP_DATA_MIRROR", "")))
    for mirror in mirrors:
        if not mirror.startswith(("http://", "https://")):
            raise UserError("IMP_DATA_MIRROR", f"{mirror} is no address", "begin it with https://")
    return mirrors


def manual_download(
    published: Publication, file: UpstreamFile, folder: Path, failure: str = ""
) -> ManualDownload:
    """Return the instructions for downloading a file into `folder`, its raw folder."""
    # Manifests assume the default data directory.
    instructions = (file.by_hand or "").replace("data/raw/", f"{folder.parent}/")
    return ManualDownload(file, folder / file.path, published.license, instructions, failure)


def format_manual_downloads(missing: Sequence[ManualDownload]) -> str:
    """Return the request to download these files, with a line for each."""
    files = "this file" if len(missing) == 1 else f"these {len(missing)} files"
    return f"download {files} manually:" + "".join(f"\n  {one}" for one in missing)


def fetch_files(
    manifests: Sequence[Publication],
    folder: Path,
    mirrors: Sequence[str] = (),
    locks: LockFiles | None = None,
    limits: Limits | None = None,
    stop: Event | None = None,
) -> dict[str, str]:
    """Complete, in `folder`, all files of manifests that share a name; return sha256 by path.

    A mirror has a file at `<mirror>/<name>/<path>`. A file without a sha256 in its manifest must
    match its lock entry, which is written if there is none. `limits` apply to extraction. After the
    other files are complete, one UserError lists all files that must be downloaded manually.
    Several files are downloaded at a time, the smallest first. `stop`, once set, ends them.
    """
    manifests = [list_globs(manifest, locks) for manifest in manifests]
    stop = stop or Event()
    tasks = _file_tasks(manifests, folder, mirrors, locks, stop)
    _check_disk_space(tasks, folder)
    # A path that several manifests state is downloaded once: by one thread.
    paths = sorted({task.file.path for task in tasks}, key=lambda path: _bytes(tasks, path))
    calls = [partial(_complete_all, [t for t in tasks if t.file.path == path]) for path in paths]
    results = run_in_threads(calls, files_at_once(folder, downloads_per_host()), stop)
    found = dict(zip(paths, results, strict=True))
    for task in tasks:
        if isinstance(digest := found[task.file.path], str) and task.file.unpack:
            _extract(task, digest, folder, limits)
    missing = [one for task in tasks if isinstance(one := found[task.file.path], ManualDownload)]
    if missing:
        remedy = "put each there, then run the same command again"
        raise UserError(manifests[0].name, format_manual_downloads(missing), remedy)
    return {task.file.path: str(found[task.file.path]) for task in tasks}


class _FileTask(NamedTuple):
    """One file of a manifest, with all that its download needs."""

    published: Publication
    file: UpstreamFile
    folder: Path
    expected: ExpectedFile
    transfer: Transfer
    addresses: Sequence[str]


def _file_tasks(
    manifests: Sequence[Publication],
    folder: Path,
    mirrors: Sequence[str],
    locks: LockFiles | None,
    stop: Event,
) -> list[_FileTask]:
    urls = [request_url(f.url) for m in manifests for f in m.files if f.url]
    allowed_hosts = _hosts([*mirrors, *urls])
    tasks = []
    for published, file in ((m, f) for m in manifests for f in m.files):
        path, target = f"{published.name}/{file.path}", folder / file.path
        if published.is_optional(file) and not exists(target):
            continue
        expected = ExpectedFile(published, file, locks)
        label, stated_by = f"raw/{path}", expected.stated_by
        transfer = Transfer(expected.file, target, label, stated_by, allowed_hosts, stop)
        addresses = [_mirror_address(mirror, path) for mirror in mirrors]
        addresses += [file.url] if file.url else []
        tasks.append(_FileTask(published, file, folder, expected, transfer, addresses))
    return tasks


def _bytes(tasks: Sequence[_FileTask], path: str) -> float:
    """Return the size by which files are ordered: the largest, and unknown ones, come last."""
    sizes = [task.transfer.file.bytes for task in tasks if task.file.path == path]
    return max(float("inf") if size is None else size for size in sizes)


def _complete_all(tasks: Sequence[_FileTask]) -> str | ManualDownload:
    """Complete a file as each of its manifests states it; return its sha256."""
    for task in tasks:
        if isinstance(found := _complete_or_explain(task), ManualDownload):
            return found
    return found


def _complete_or_explain(task: _FileTask) -> str | ManualDownload:
    """Return the sha256 of the file, downloaded if it is missing, or how to get it manually."""
    target = task.transfer.target
    try:
        digest = _complete(task.transfer, task.addresses, task.expected)
        check_kind(target)
        return digest
    except DownloadStoppedError:
        raise UserError(target, "is not complete: the run ended", _RESUME) from None
    except DownloadError as error:
        if task.file.by_hand is not None:
            failure = str(error) if task.addresses else ""
            return manual_download(task.published, task.file, task.folder, failure)
        offline = isinstance(error, HostUnreachableError)
        remedy = OFFLINE_REMEDY if offline else error.remedy or task.expected.remedy(_AGAIN)
        raise UserError(target, f"cannot be fetched: {error}", remedy) from None
    except OSError as error:
        raise UserError(target, f"cannot be read or written: {error}", FREE_SPACE) from error


def _extract(task: _FileTask, digest: str, folder: Path, limits: Limits | None) -> None:
    target = task.transfer.target
    try:
        extract(target, digest, task.file.unpack, folder, limits)
    except OSError as error:
        raise UserError(target, f"cannot be read or written: {error}", FREE_SPACE) from error


def _check_disk_space(tasks: Sequence[_FileTask], folder: Path) -> None:
    """Raise UserError if the missing files of known size do not fit on the disk together.

    Files for an object store pass through this machine's scratch disk one by one.
    """
    free = free_bytes(folder)
    if free is None:
        return
    missing = {
        task.file.path: task.transfer.file.bytes - partial_size(task.transfer.target)
        for task in tasks
        if task.transfer.file.bytes is not None
        and task.file.url
        and not task.transfer.target.exists()
    }
    if (size := sum(missing.values())) > free:
        problem = f"needs {size:,} bytes for {len(missing)} files, {free:,} are free"
        raise UserError(folder, problem, FREE_SPACE)


def _mirror_address(mirror: str, path: str) -> str:
    """Return the file's address at a mirror; a query, such as a signature, stays at the end."""
    parts = urlsplit(mirror)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(path)}"))


def _hosts(addresses: Sequence[str]) -> frozenset[str]:
    return frozenset(host for url in addresses if (host := host_of(url)))


def host_of(url: str) -> str:
    """Return the host of an address; "" if it is not an address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _complete(transfer: Transfer, addresses: Sequence[str], expected: ExpectedFile) -> str:
    """Verify the file if it exists, else download it; return its sha256."""
    if not exists(transfer.target):
        return download(transfer, addresses, expected.lock_download)
    try:
        digest = verify_checksum(transfer.file, transfer.target, transfer.stated_by)
        check_kind(transfer.target)
        expected.lock_manual(transfer.target, digest)
        return digest
    except DownloadError as error:
        check_kind(transfer.target)
        keep = "to use this file as it is, correct its sha256 and bytes in the manifest"
        remedy = expected.remedy(f"{REFETCH}; {keep}")
        raise UserError(transfer.target, str(error), remedy) from None
