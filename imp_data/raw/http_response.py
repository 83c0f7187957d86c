"""Check the headers of a response against the request and the manifest.

A known sha256 decides in the end. For any other file only the server's headers exist: a response
that contradicts them, or lacks the headers that would reveal an error, is refused.
"""

import re
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx

from imp_data.manifests import UpstreamFile

_HTML = ("text/html", "application/xhtml+xml")
_GZIPPED = (".gz", ".tgz")
# The last two do not describe the bytes; stores keep them from the upload of an object.
_PLAIN = ("", "identity", "none", "aws-chunked")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})")


class DownloadError(Exception):
    """An address, or a file on disk, does not provide the file of the manifest."""


class HostUnreachableError(DownloadError):
    """No connection to the host of an address is possible."""


class RetryableError(Exception):
    """A transient error, and how long to wait if that is known.

    `discard`: the partial file is useless. `fruitless`: the attempt counts as one without progress,
    even if bytes arrived.
    """

    def __init__(
        self,
        why: str,
        pause_seconds: float | None = None,
        unreachable: bool = False,
        discard: bool = False,
        fruitless: bool = False,
    ) -> None:
        super().__init__(why)
        self.pause_seconds, self.unreachable = pause_seconds, unreachable
        self.discard, self.fruitless = discard, fruitless


class PartialFile(NamedTuple):
    """The received part of a file: its size, the version, and the size of the whole file."""

    bytes: int = 0
    version: str = ""
    total: int | None = None


class ByteRange(NamedTuple):
    """The bytes in a response; `end` and `total`, the size of the whole, are None if unknown."""

    begin: int
    end: int | None
    total: int | None


def version_of(headers: httpx.Headers) -> str:
    """Return what identifies a version of a file: a strong ETag, else the date; "" if neither."""
    etag = headers.get("ETag", "W/")
    date: str = headers.get("Last-Modified", "")
    return date if etag.startswith("W/") else etag


def byte_range_of(
    response: httpx.Response, file: UpstreamFile, partial: PartialFile, stated_by: str
) -> ByteRange | None:
    """Return the bytes of the file in the response; None if the partial file is complete.

    Raise DownloadError if it does not contain the requested bytes of the file, RetryableError if
    another request may get them.
    """
    status = response.status_code
    if status in (408, 429) or status >= 500:
        raise RetryableError(f"HTTP {status}", retry_after(response.headers.get("Retry-After", "")))
    if status == 416 and partial.bytes:
        whole = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", ""))
        if whole and int(whole[1]) == partial.bytes and file.bytes in (None, partial.bytes):
            return None
        raise RetryableError(f"HTTP {status}", pause_seconds=0, discard=True)
    if status not in (200, 206):
        raise DownloadError(f"answers HTTP {status}")
    _check_content_headers(response, file)
    found = _partial_range(response, partial) if status == 206 else _whole_range(response, file)
    if file.bytes is not None and found.total is not None and found.total != file.bytes:
        raise DownloadError(f"has {found.total:,} bytes, {stated_by} says {file.bytes:,}")
    if file.bytes is None and max(found.total or 0, found.end or 0) > file.max_bytes:
        raise DownloadError(f"has {found.total or found.end:,} bytes, more{_over_limit(file)}")
    if found.total == 0 and file.bytes != 0 and file.sha256 is None:
        raise DownloadError("answers with an empty body (Content-Length: 0)")
    return found


def check_size(size: int, file: UpstreamFile, stated_by: str) -> None:
    """Raise Refused if more bytes have arrived than the file may have."""
    if file.bytes is not None and size > file.bytes:
        raise DownloadError(f"sends more than the {file.bytes:,} bytes that {stated_by} states")
    if size > file.max_bytes and file.bytes is None:
        raise DownloadError(f"sends more{_over_limit(file)}")


def _over_limit(file: UpstreamFile) -> str:
    return f" than the {file.max_bytes:,} allowed (`max_bytes` of the file in its manifest)"


def _check_content_headers(response: httpx.Response, file: UpstreamFile) -> None:
    """Raise DownloadError if the headers show that the body is not the file itself."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    # Many servers declare the compression of the file itself as an encoding.
    own = coding in ("gzip", "x-gzip") and file.path.lower().endswith(_GZIPPED)
    if coding not in _PLAIN and not own:
        raise DownloadError(
            f"sends the file encoded (Content-Encoding: {coding}), which was not requested"
        )
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if file.sha256 is None and kind in _HTML and not file.path.lower().endswith((".html", ".htm")):
        raise DownloadError(f"answers with an HTML page (Content-Type: {kind})")


def _whole_range(response: httpx.Response, file: UpstreamFile) -> ByteRange:
    length = response.headers.get("Content-Length")
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if chunked:
        return ByteRange(0, None, None)
    if length is None and file.bytes is None and file.sha256 is None:
        raise DownloadError(
            "does not say where the file ends (no Content-Length, not chunked), and the manifest "
            "states neither its bytes nor its sha256"
        )
    total = None if length is None else int(length)
    return ByteRange(0, total, total)


def _partial_range(response: httpx.Response, partial: PartialFile) -> ByteRange:
    """Return the range of a 206 response, which may be shorter than requested."""
    if "Range" not in response.request.headers:
        raise DownloadError("answers with a part (HTTP 206), although the whole was asked for")
    stated = response.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.fullmatch(stated.strip())
    if not found:
        raise RetryableError(
            f"HTTP 206 {stated or 'without Content-Range'}", pause_seconds=0, discard=True
        )
    begin, end = int(found[1]), int(found[2]) + 1
    total = None if found[3] == "*" else int(found[3])
    wrong = begin != partial.bytes or end <= begin or (total is not None and end > total)
    if wrong or (partial.total is not None and total not in (None, partial.total)):
        raise RetryableError(f"HTTP 206 {stated}", pause_seconds=0, discard=True)
    if "If-Range" in response.request.headers and not _same_version(response.headers, partial):
        why = "HTTP 206 of another version than the partial file, or of an unidentified version"
        raise RetryableError(why, pause_seconds=0, discard=True)
    length = response.headers.get("Content-Length")
    if length is not None and int(length) != end - begin:
        raise RetryableError(f"HTTP 206 {stated} of {length} bytes", pause_seconds=0, discard=True)
    return ByteRange(begin, end, total if total is not None else partial.total)


def _same_version(headers: httpx.Headers, partial: PartialFile) -> bool:
    return partial.version in (headers.get("ETag"), headers.get("Last-Modified"))


def retry_after(value: str) -> float | None:
    """Return the seconds in a Retry-After header, a number or a date; None if it is neither."""
    if value.isdecimal():
        return float(value)
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
