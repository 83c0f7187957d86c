"""What a server says of a file, compared with what was asked for and with what the manifest states.

A file whose sha256 is known is judged by it in the end. Of any other the server's own words are
all there is: an answer that contradicts them, or leaves out what would show an error, is refused.
"""

import re
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx

from imp_data.manifests import File

_HTML = ("text/html", "application/xhtml+xml")
_GZIPPED = (".gz", ".tgz")
# The last two say nothing of the bytes; stores keep them from how an object was put there.
_PLAIN = ("", "identity", "none", "aws-chunked")
_SPAN = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})")


class Refused(Exception):
    """Why an address, or a file on disk, does not give what the manifest names."""


class Unreachable(Refused):
    """No connection to the address's host can be made."""


class Again(Exception):
    """A trouble that may pass, and how long to wait where that is known.

    `anew`: what has arrived is of no use. `in_vain`: the attempt counts for nothing, whatever came.
    """

    def __init__(
        self,
        why: str,
        pause_seconds: float | None = None,
        unreachable: bool = False,
        anew: bool = False,
        in_vain: bool = False,
    ) -> None:
        super().__init__(why)
        self.pause_seconds, self.unreachable = pause_seconds, unreachable
        self.anew, self.in_vain = anew, in_vain


class Begun(NamedTuple):
    """What has arrived: how many bytes, of which version, of how many in all."""

    bytes: int = 0
    version: str = ""
    total: int | None = None


class Span(NamedTuple):
    """The bytes that an answer brings: the end, and the size of the whole, None where unknown."""

    begin: int
    end: int | None
    total: int | None


def version_of(headers: httpx.Headers) -> str:
    """What a server tells versions of a file by: a strong ETag, else the date; "" if neither."""
    etag = headers.get("ETag", "W/")
    date: str = headers.get("Last-Modified", "")
    return date if etag.startswith("W/") else etag


def span_of(response: httpx.Response, file: File, begun: Begun, stated_by: str) -> Span | None:
    """Which bytes of the file the answer brings; None if there are no more than have arrived.

    Raises Refused where they are not the file, or not the bytes asked for; Again where another
    request may get them.
    """
    status = response.status_code
    if status in (408, 429) or status >= 500:
        raise Again(f"HTTP {status}", _retry_after(response.headers.get("Retry-After", "")))
    if status == 416 and begun.bytes:
        whole = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", ""))
        if whole and int(whole[1]) == begun.bytes and file.bytes in (None, begun.bytes):
            return None
        raise Again(f"HTTP {status}", pause_seconds=0, anew=True)
    if status not in (200, 206):
        raise Refused(f"answers HTTP {status}")
    _check_form(response, file)
    span = _piece(response, begun) if status == 206 else _whole(response, file)
    if file.bytes is not None and span.total is not None and span.total != file.bytes:
        raise Refused(f"has {span.total:,} bytes, {stated_by} says {file.bytes:,}")
    if file.bytes is None and max(span.total or 0, span.end or 0) > file.max_bytes:
        raise Refused(f"has {span.total or span.end:,} bytes, more{_too_many(file)}")
    if span.total == 0 and file.bytes != 0 and file.sha256 is None:
        raise Refused("answers with an empty body (Content-Length: 0)")
    return span


def check_size(size: int, file: File, stated_by: str) -> None:
    """Raise Refused where more bytes have come than the file may have."""
    if file.bytes is not None and size > file.bytes:
        raise Refused(f"sends more than the {file.bytes:,} bytes that {stated_by} states")
    if size > file.max_bytes and file.bytes is None:
        raise Refused(f"sends more{_too_many(file)}")


def _too_many(file: File) -> str:
    return f" than the {file.max_bytes:,} allowed (`max_bytes` of the file in its manifest)"


def _check_form(response: httpx.Response, file: File) -> None:
    """Raise Refused where what comes is not the file's own bytes, by what its headers say."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    # Many servers call a file's own compression an encoding of it.
    own = coding in ("gzip", "x-gzip") and file.path.lower().endswith(_GZIPPED)
    if coding not in _PLAIN and not own:
        raise Refused(f"sends the file encoded (Content-Encoding: {coding}), which was not asked")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if file.sha256 is None and kind in _HTML and not file.path.lower().endswith((".html", ".htm")):
        raise Refused(f"answers with an HTML page (Content-Type: {kind})")


def _whole(response: httpx.Response, file: File) -> Span:
    length = response.headers.get("Content-Length")
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if chunked:
        return Span(0, None, None)
    if length is None and file.bytes is None and file.sha256 is None:
        raise Refused(
            "does not say where the file ends (no Content-Length, not chunked), and the manifest "
            "states neither its bytes nor its sha256"
        )
    total = None if length is None else int(length)
    return Span(0, total, total)


def _piece(response: httpx.Response, begun: Begun) -> Span:
    """The span of a 206, which may be less than was asked for."""
    if "Range" not in response.request.headers:
        raise Refused("answers with a part (HTTP 206), although the whole was asked for")
    said = response.headers.get("Content-Range", "")
    found = _SPAN.fullmatch(said.strip())
    if not found:
        raise Again(f"HTTP 206 {said or 'without Content-Range'}", pause_seconds=0, anew=True)
    begin, end = int(found[1]), int(found[2]) + 1
    total = None if found[3] == "*" else int(found[3])
    wrong = begin != begun.bytes or end <= begin or (total is not None and end > total)
    if wrong or (begun.total is not None and total not in (None, begun.total)):
        raise Again(f"HTTP 206 {said}", pause_seconds=0, anew=True)
    if "If-Range" in response.request.headers and not _same_version(response.headers, begun):
        why = "HTTP 206 of another version than what has arrived, or of one that is not named"
        raise Again(why, pause_seconds=0, anew=True)
    length = response.headers.get("Content-Length")
    if length is not None and int(length) != end - begin:
        raise Again(f"HTTP 206 {said} of {length} bytes", pause_seconds=0, anew=True)
    return Span(begin, end, total if total is not None else begun.total)


def _same_version(headers: httpx.Headers, begun: Begun) -> bool:
    return begun.version in (headers.get("ETag"), headers.get("Last-Modified"))


def _retry_after(value: str) -> float | None:
    """Seconds, from a number or from a date; None of anything else."""
    if value.isdecimal():
        return float(value)
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
