"""What differs in the download of a file if the Hub serves it: known size and sha256, and Xet."""

from imp_data.raw.http_response import DownloadError, RetryableError
from imp_data.raw.hub_client import HubMetadata, hub_file, request_metadata, request_url
from imp_data.raw.hub_xet import xet_blocks, xet_is_available
from imp_data.raw.minimum_speed import SpeedMonitor
from imp_data.raw.transfer import Transfer, receive_blocks

_STATED_BY = "the Hub"


class HubDownload:
    """The download from one address; for an address outside the Hub its methods change nothing."""

    def __init__(self, address: str) -> None:
        self._file = hub_file(address)
        self._metadata: HubMetadata | None = None
        self._uses_xet = True
        self.address = request_url(address)

    def complete(self, transfer: Transfer) -> Transfer:
        """Return the transfer with the size and sha256 that the Hub states, where it has none.

        Raise DownloadError before any byte moves if the Hub states others.
        """
        if self._file is None or self._metadata is not None:
            return transfer
        self._metadata = found = request_metadata(self._file)
        file, stated_by = transfer.file, transfer.stated_by
        if None not in (file.bytes, found.bytes) and file.bytes != found.bytes:
            raise DownloadError(f"has {found.bytes:,} bytes, {stated_by} says {file.bytes:,}")
        if None not in (file.sha256, found.sha256) and file.sha256 != found.sha256:
            raise DownloadError(f"has sha256 {found.sha256}, {stated_by} says {file.sha256}")
        if file.bytes is None and (found.bytes or 0) > file.max_bytes:
            limit = f"more than the {file.max_bytes:,} allowed (`max_bytes` of the file)"
            raise DownloadError(f"has {found.bytes:,} bytes, {limit}")
        changes = {
            "bytes": found.bytes if file.bytes is None else file.bytes,
            "sha256": file.sha256 or found.sha256,
        }
        if file.sha256 is None and found.sha256 is not None:
            stated_by = _STATED_BY
        return transfer._replace(file=file.model_copy(update=changes), stated_by=stated_by)

    def receive(self, transfer: Transfer, speed: SpeedMonitor) -> bool:
        """Receive the missing bytes from Xet storage; return False if the file is not there.

        After a failure of Xet storage return False: the plain download continues the file.
        """
        found, size = self._metadata, transfer.file.bytes
        if not (self._uses_xet and found and found.xet and size and transfer.file.sha256):
            return False
        if not xet_is_available():
            return False
        try:
            receive_blocks(
                lambda begin: xet_blocks(found.xet, size, begin), self.address, transfer, speed
            )
        except RetryableError:
            self._uses_xet = False
            raise
        return True
