"""What a build will download: each file once, with size, licence, address, and what is there."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from imp_data.errors import UserError
from imp_data.manifests import Publication, Source, UpstreamFile
from imp_data.manifests.lockfile import LockFiles
from imp_data.pipeline.planned_extras import (
    PlannedUnpacking,
    PlannedUrls,
    planned_unpacking,
    planned_urls,
)
from imp_data.pipeline.stages import StageContext
from imp_data.raw.fetch import host_of, manual_download, mirrors_from_environment
from imp_data.raw.http_response import DownloadError, RetryableError
from imp_data.raw.hub_client import hub_file, request_metadata
from imp_data.raw.hub_listing import list_globs
from imp_data.raw.redirects import open_response
from imp_data.raw.transfer import partial_size
from imp_data.redaction import address, redact
from imp_data.storage.decompressed import decompressed_path, is_compressed
from imp_data.storage.globs import matches_glob
from imp_data.storage.object_store import exists
from imp_data.storage.paths import free_bytes, local_folder

_REQUESTS = 8
_REQUEST_SECONDS = 15.0
# Records, hashes, indexes and the mixture of the paper's 1M samples; images stay in archives.
BUILD_BYTES = 10_000_000_000
# JSON text of records is 5 to 7 times as large as its gzip or zstd file; with repeated texts, more.
DECOMPRESSED_RATIO = 8


class PlannedFile(NamedTuple):
    """A file of the build, or a glob of files that are not listed yet.

    `bytes` is None if nobody states its size; `estimated_bytes` is the manifest's estimate then.
    `state` is `there`, `partial`, `missing`, or `manual`: missing, and to be downloaded manually.
    `received` bytes are on the disk. `note` says why its size or its list is unknown. Of a
    `compressed` file of records the build writes a decompressed copy that is not there yet.
    """

    name: str
    path: str
    bytes: int | None
    received: int
    state: str
    license: str
    address: str | None
    instructions: str | None = None
    note: str = ""
    compressed: bool = False
    estimated_bytes: int | None = None

    @property
    def copy_bytes(self) -> int:
        """The estimated size of the decompressed copy still to be written."""
        size = self.bytes or self.estimated_bytes or 0
        return DECOMPRESSED_RATIO * size if self.compressed else 0

    @property
    def missing_bytes(self) -> int:
        """The bytes still to come, as far as known."""
        return 0 if self.state == "there" else max((self.bytes or 0) - self.received, 0)

    @property
    def missing_estimate(self) -> int:
        """The bytes still to come by an estimate, of a file of unknown size."""
        if self.state == "there" or self.bytes is not None:
            return 0
        return max((self.estimated_bytes or 0) - self.received, 0)


class DownloadPlan(NamedTuple):
    """The files in the order of their download, and what they need together."""

    mixture: str
    folder: Path
    files: tuple[PlannedFile, ...]
    free_bytes: int | None
    urls: tuple[PlannedUrls, ...] = ()
    unpacking: tuple[PlannedUnpacking, ...] = ()

    @property
    def download_bytes(self) -> int:
        """Bytes that the build downloads, as far as sizes are known."""
        return sum(f.missing_bytes for f in self._downloads)

    @property
    def estimated_bytes(self) -> int:
        """Further bytes that it downloads by the manifests' estimates: files, and images by URL."""
        by_url = sum(urls.estimated_bytes or 0 for urls in self.urls)
        return sum(f.missing_estimate for f in self._downloads) + by_url

    @property
    def _downloads(self) -> list[PlannedFile]:
        return [file for file in self.files if file.state in ("missing", "partial")]

    @property
    def disk_bytes(self) -> int:
        """Disk that the build needs, as far as known or estimated.

        It is for missing files, manual ones included, images by URL, what is unpacked or
        decompressed, and what the build writes.
        """
        missing = sum(f.missing_bytes + f.missing_estimate + f.copy_bytes for f in self.files)
        by_url = sum(urls.estimated_bytes or 0 for urls in self.urls)
        return missing + by_url + sum(one.bytes or 0 for one in self.unpacking) + BUILD_BYTES

    @property
    def unknown_sizes(self) -> int:
        """Number of missing files whose size is neither known nor estimated."""
        unknown = [f for f in self.files if f.bytes is None and f.estimated_bytes is None]
        return sum(1 for f in unknown if f.state != "there")

    @property
    def is_incomplete(self) -> bool:
        """Whether something that the build needs has a size that nobody states or estimates."""
        by_url = any(urls.estimated_bytes is None for urls in self.urls)
        unpacked = any(archive.bytes is None for archive in self.unpacking)
        return bool(self.unknown_sizes) or by_url or unpacked

    def seconds(self, bytes_per_second: float) -> float:
        """Return how long the downloads take at that rate."""
        return (self.download_bytes + self.estimated_bytes) / bytes_per_second

    def to_json(self, bytes_per_second: float | None) -> dict[str, Any]:
        """Return the plan for a program; `seconds` is None without a rate."""
        seconds = None if bytes_per_second is None else round(self.seconds(bytes_per_second))
        return {
            "mixture": self.mixture,
            "data_directory": str(self.folder),
            "files": [file._asdict() for file in self.files],
            "urls": [urls._asdict() for urls in self.urls],
            "unpack": [archive._asdict() for archive in self.unpacking],
            "download_bytes": self.download_bytes,
            "estimated_bytes": self.estimated_bytes,
            "unknown_sizes": self.unknown_sizes,
            "disk_bytes": self.disk_bytes,
            "free_bytes": self.free_bytes,
            "seconds": seconds,
        }


def plan_downloads(build: StageContext, offline: bool = False) -> DownloadPlan:
    """Return the plan of a build; nothing is downloaded or written.

    Ask servers for the sizes that neither manifests nor lock files state, unless `offline`.
    """
    drawn = build.recipe.mixture.drawn
    files = [] if drawn else list(_unique_files(build, offline))
    with ThreadPoolExecutor(_REQUESTS) as threads:
        planned = threads.map(lambda one: _with_size(*one) if not offline else one[0], files)
        ordered = sorted(planned, key=_download_order)
    root = build.data.root
    return DownloadPlan(
        build.name,
        root,
        tuple(ordered),
        free_bytes(local_folder(root)),
        () if drawn else tuple(planned_urls(build)),
        () if drawn else tuple(planned_unpacking(build)),
    )


def _download_order(file: PlannedFile) -> tuple[bool, float, str, str]:
    """Files on the disk first, then the smallest; unknown sizes last."""
    known = file.estimated_bytes if file.bytes is None else file.bytes
    size = float("inf") if known is None else known
    return file.state != "there", size, file.name, file.path


def _unique_files(build: StageContext, offline: bool) -> Iterable[tuple[PlannedFile, UpstreamFile]]:
    mirrored = bool(mirrors_from_environment())
    for name, manifests in build.published.items():
        known = set[str]()
        for manifest in manifests:
            listed, note = _list_files(manifest, build.locks, offline)
            for file in listed.files:
                absent = not exists(build.data.raw(name) / file.path)
                if manifest.is_optional(file) and absent:
                    continue  # its images are downloaded by URL instead
                if file.path not in known:
                    known.add(file.path)
                    planned = _plan_file(listed, file, build.data.raw(name), mirrored)
                    locked = build.locks and build.locks.find_entry(manifest, file.path)
                    if locked and planned.bytes is None:
                        planned = planned._replace(bytes=locked.entry.bytes, estimated_bytes=None)
                    compressed = _needs_copy(manifests, file, build.data.raw(name))
                    planned = planned._replace(compressed=compressed)
                    yield planned._replace(note=note if file.is_glob else ""), file


def _needs_copy(manifests: Iterable[Publication], file: UpstreamFile, folder: Path) -> bool:
    """Return whether the build decompresses a file, and has not done so yet."""
    patterns = [pattern for m in manifests if isinstance(m, Source) for pattern in m.records]
    is_read = any(file.path == pattern or matches_glob(file.path, pattern) for pattern in patterns)
    if not is_read or file.is_glob or not is_compressed(file.path):
        return False
    return not exists(decompressed_path(folder, file.path))


def _list_files(
    manifest: Publication, locks: LockFiles | None, offline: bool
) -> tuple[Publication, str]:
    """Return the manifest with the files of its globs; and why one is not listed, if so."""
    listed = locks.expand(manifest) if locks else manifest
    if not any(file.is_glob for file in listed.files):
        return listed, ""
    if offline:
        return listed, "a list that the Hub has; not asked (--offline)"
    try:
        return list_globs(manifest, None), ""
    except UserError as error:
        return listed, error.problem


def _plan_file(
    manifest: Publication, file: UpstreamFile, folder: Path, mirrored: bool
) -> PlannedFile:
    target = folder / file.path
    found, received = exists(target), partial_size(target)
    size = file.bytes
    if found:
        received = target.stat().st_size
        size = received if size is None else size
    manual = file.url is None and not mirrored
    state = "there" if found else "manual" if manual else "partial" if received else "missing"
    instructions = manual_download(manifest, file, folder).instructions or None
    return PlannedFile(
        name=manifest.name,
        path=file.path,
        bytes=size,
        received=received,
        state=state,
        license=manifest.license,
        address=address(file.url) if file.url else None,
        instructions=redact(instructions) if instructions else None,
        estimated_bytes=file.estimated_bytes if size is None else None,
    )


def _with_size(planned: PlannedFile, file: UpstreamFile) -> PlannedFile:
    """Ask the server for a size that nothing states."""
    if planned.bytes is not None or planned.state == "there" or not file.url or file.is_glob:
        return planned
    try:
        hub = hub_file(file.url)
        size = request_metadata(hub).bytes if hub else _content_length(file.url)
    except (DownloadError, RetryableError, UserError) as error:
        return planned._replace(note=redact(str(error)))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return planned._replace(note=f"cannot be asked for its size ({type(error).__name__})")
    if size is None:
        return planned._replace(note="states no size")
    return planned._replace(bytes=size, estimated_bytes=None)


def _content_length(url: str) -> int | None:
    """Return the size that a server states. Raise DownloadError if it refuses."""
    hosts, headers = {host_of(url)}, {"Accept-Encoding": "identity"}
    with (
        httpx.Client(timeout=_REQUEST_SECONDS) as client,
        open_response(client, url, headers, hosts, method="HEAD") as response,
    ):
        if response.status_code != 200:
            raise DownloadError(f"answers HTTP {response.status_code}")
        length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None
