"""Request a file, or the rest of a partial one, and write the response to disk."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson

from imp_data.errors import UserError
from imp_data.manifests import UpstreamFile
from imp_data.parallel.progress import progress
from imp_data.raw.http_response import (
    ByteRange,
    DownloadError,
    PartialFile,
    RetryableError,
    byte_range_of,
    check_size,
    version_of,
)
from imp_data.raw.hub_client import hub_endpoint, hub_token, refuse_access
from imp_data.raw.minimum_speed import SpeedMonitor
from imp_data.raw.redirects import open_response
from imp_data.redaction import address as shown
from imp_data.storage.paths import local_path

# A file of unknown size must not fill the disk, which other programs need too.
_RESERVED_BYTES = 1 << 30
_DISK_CHECK_INTERVAL_BYTES = 64 << 20

FREE_SPACE = "free space or grant access, then run the same command again; partial files are kept"


class Transfer(NamedTuple):
    """A file of the manifest, its target, and the received part on this machine.

    `stated_by` names what states its size and sha256, for messages. `allowed_hosts` may be private.
    `stop`, once set, ends the transfer.
    """

    file: UpstreamFile
    target: Path
    label: str
    stated_by: str = "the manifest"
    allowed_hosts: Collection[str] = ()
    stop: threading.Event | None = None

    @property
    def part(self) -> Path:
        return partial_path(self.target)

    @property
    def version(self) -> Path:
        """The file with the version of the bytes in `part`: address, ETag or date, and size."""
        return self.part.with_name(f"{self.part.name}.version")

    def find_partial(self, address: str) -> PartialFile:
        """Return the received part if it can be continued from this address.

        Without a sha256, only the same version can be continued.
        """
        size = partial_size(self.target)
        try:
            stored = orjson.loads(self.version.read_bytes())
            version, total = str(stored["version"]), stored["total"]
            same = stored["address"] == _address_digest(address)
        except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
            version, total, same = "", None, False
        if same and version:
            return PartialFile(size, version, total)
        return PartialFile(size if self.file.sha256 else 0)

    def write_version(self, address: str, response: httpx.Response, total: int | None) -> None:
        """Store the version of the bytes in the response."""
        version = {"address": _address_digest(address), "version": version_of(response.headers)}
        self.version.write_bytes(orjson.dumps({**version, "total": total}))

    def check_stop(self) -> None:
        """Raise DownloadStoppedError if the transfer has to end."""
        if self.stop is not None and self.stop.is_set():
            raise DownloadStoppedError("is interrupted")

    def discard(self) -> None:
        """Delete the received part."""
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)


def partial_path(target: Path) -> Path:
    """Return the path of the received part on this machine."""
    whole = local_path(target)
    return whole.with_name(f".{whole.name}.part")


def partial_size(target: Path) -> int:
    """Return the size of the received part of a file."""
    part = partial_path(target)
    return part.stat().st_size if part.exists() else 0


def _address_digest(address: str) -> str:
    """Return a digest that identifies an address without revealing it; signatures do not count."""
    return hashlib.sha256(shown(address).encode()).hexdigest()[:16]


class DownloadStoppedError(DownloadError):
    """Another file of the same stage has failed, or the user has interrupted the run."""


class ContentMismatchError(DownloadError):
    """The received bytes are not the file."""


def receive_response(
    client: httpx.Client, address: str, transfer: Transfer, speed: SpeedMonitor
) -> bool:
    """Request the missing bytes and write them to `part`; return False if more are missing."""
    speed.count_request()
    partial = transfer.find_partial(address)
    headers = _headers(address, transfer.file, partial)
    with open_response(client, address, headers, transfer.allowed_hosts) as response:
        _check_access(response, address)
        received = byte_range_of(response, transfer.file, partial, transfer.stated_by)
        if received is None:
            return True
        missing = _missing_bytes(received, transfer)
        if not received.begin:
            transfer.write_version(address, response, received.total)
        blocks = response.iter_raw()
        with progress(transfer.label, "bytes", missing) as bar:
            size = _write(blocks, received, transfer, (speed.count_bytes, bar.add))
    if received.end not in (None, size):
        raise RetryableError(f"ends after {size:,} of {received.end:,} bytes")
    if not size and transfer.file.bytes != 0 and transfer.file.sha256 is None:
        raise ContentMismatchError("answers with an empty body")
    return response.status_code == 200 or size == (received.total or transfer.file.bytes)


def receive_blocks(
    blocks_from: Callable[[int], Iterator[bytes]],
    address: str,
    transfer: Transfer,
    speed: SpeedMonitor,
) -> None:
    """Write the missing bytes to `part`; `blocks_from(n)` yields those from byte n on.

    The size of the file must be known, and its sha256 too if `part` exists.
    """
    speed.count_request()
    size = transfer.file.bytes or 0
    begin = transfer.find_partial(address).bytes
    if begin > size:
        transfer.discard()
        begin = 0
    missing = _missing_bytes(ByteRange(begin, size, size), transfer)
    with progress(transfer.label, "bytes", missing) as bar:
        counters = (speed.count_bytes, bar.add)
        end = _write(blocks_from(begin), ByteRange(begin, size, size), transfer, counters)
    if end != size:
        raise RetryableError(f"ends after {end:,} of {size:,} bytes")


def _write(
    blocks: Iterator[bytes],
    received: ByteRange,
    transfer: Transfer,
    counters: Sequence[Callable[[int], None]],
) -> int:
    """Write the body to `part`, never more than its limits; return the size of `part`."""
    size = size_at_check = received.begin
    with transfer.part.open("r+b" if received.begin else "wb") as out:
        out.seek(received.begin)
        for block in blocks:
            transfer.check_stop()
            if received.end is not None and size + len(block) > received.end:
                problem = f"sends more than the {received.end:,} bytes that it announced"
                raise ContentMismatchError(problem)
            try:
                check_size(size + len(block), transfer.file, transfer.stated_by)
            except DownloadError as error:
                raise ContentMismatchError(str(error)) from None
            out.write(block)
            size += len(block)
            for counter in counters:
                counter(len(block))
            if received.total is None and size - size_at_check >= _DISK_CHECK_INTERVAL_BYTES:
                size_at_check = size
                _check_disk_space(transfer, 0, _RESERVED_BYTES)
    return size


def _headers(address: str, file: UpstreamFile, partial: PartialFile) -> dict[str, str]:
    """Return headers that request the missing bytes; without a sha256, of the same version only.

    HF_TOKEN goes only to the Hub; httpx drops it if a redirect leaves the host.
    """
    headers = {"Accept-Encoding": "identity"}
    if (token := hub_token()) and _is_of_hub(address):
        headers["Authorization"] = f"Bearer {token}"
    if partial.bytes:
        headers["Range"] = f"bytes={partial.bytes}-"
        if file.sha256 is None:
            headers["If-Range"] = partial.version
    return headers


def _is_of_hub(address: str) -> bool:
    return address.startswith(f"{hub_endpoint()}/")


def _check_access(response: httpx.Response, address: str) -> None:
    """Raise DownloadError with a remedy if the Hub requires authentication."""
    if response.status_code in (401, 403) and _is_of_hub(address):
        raise refuse_access(address.partition("/resolve/")[0], response.status_code)


def _missing_bytes(received: ByteRange, transfer: Transfer) -> int:
    """Return the number of bytes to come, 0 if unknown. Raise UserError if they do not fit."""
    whole = received.end or transfer.file.bytes or received.begin
    _check_disk_space(transfer, whole - received.begin)
    return whole - received.begin


def _check_disk_space(transfer: Transfer, missing: int, reserved: int = 0) -> None:
    free = shutil.disk_usage(transfer.part.parent).free
    if missing > free:
        problem = f"needs {missing:,} bytes, {free:,} are free"
        raise UserError(transfer.target, problem, FREE_SPACE)
    if free < reserved:
        problem = f"is of unknown size and leaves {free:,} bytes free, fewer than {reserved:,}"
        raise UserError(transfer.target, problem, FREE_SPACE)
