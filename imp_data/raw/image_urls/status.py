"""The status of each URL: image or reason; `url_status.parquet` has one row for each input row."""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from imp_data.errors import UserError
from imp_data.storage.object_store import is_file
from imp_data.storage.tables import open_parquet, parquet_writer

STATUS_FILE = "url_status.parquet"
_ROW_GROUP = 1 << 16


class Retry(StrEnum):
    """When a failed URL is tried again."""

    NEVER = "never"
    LATER = "later"  # in a later run
    NOW = "now"  # in this run, after a pause, and in later runs


class FailureReason(StrEnum):
    """Why a URL brought no image; `.retry` is when to try again, `.sentence` explains it."""

    retry: Retry
    sentence: str

    def __new__(cls, value: str, retry: Retry, sentence: str) -> "FailureReason":
        reason = str.__new__(cls, value)
        reason._value_, reason.retry, reason.sentence = value, retry, sentence
        return reason

    BAD_ROW = "bad_row", Retry.NEVER, "The row of the list has no URL, or cannot be read."
    BAD_NAME = "bad_name", Retry.NEVER, "The name is not a relative path of a visible file."
    BAD_URL = "bad_url", Retry.NEVER, "The text is not a URL that can be requested safely."
    REFUSED_SCHEME = "refused_scheme", Retry.NEVER, "The URL is neither http nor https."
    REFUSED_ADDRESS = (
        "refused_address",
        Retry.NEVER,
        "The host is an address of this machine or a private network.",
    )
    REDIRECTS = "redirects", Retry.NEVER, "The URL redirects too often, or to no address."
    GONE = "gone", Retry.NEVER, "The server has no such image (404, 410)."
    DENIED = "denied", Retry.NEVER, "The server refuses access (401, 403, 451)."
    HTTP_ERROR = "http_error", Retry.NEVER, "The server answers with another error."
    NOAI = "noai", Retry.NEVER, "The server asks not to use the image (X-Robots-Tag)."
    NOT_AN_IMAGE = "not_an_image", Retry.NEVER, "The content is not an image: a page, for example."
    EMPTY = "empty", Retry.NEVER, "The content is empty."
    TOO_LARGE = "too_large", Retry.NEVER, "The content has more bytes than allowed."
    BAD_ENCODING = "bad_encoding", Retry.NEVER, "The content is compressed in an unreadable way."
    WRONG_SHA256 = "wrong_sha256", Retry.NEVER, "The content is not the one of the stated sha256."
    DNS = "dns", Retry.NOW, "The host's name has no address."
    CONNECTION = "connection", Retry.NOW, "The connection failed or broke."
    TLS = "tls", Retry.LATER, "The server's certificate or encryption is not valid."
    TIMEOUT = "timeout", Retry.NOW, "The server is too slow."
    INCOMPLETE = "incomplete", Retry.NOW, "The content ended before its announced end."
    RATE_LIMITED = "rate_limited", Retry.NOW, "The server asks for fewer requests (429)."
    SERVER_ERROR = "server_error", Retry.NOW, "The server fails (408, 5xx)."
    HOST_GIVEN_UP = "host_given_up", Retry.LATER, "The host failed too often in a row in this run."


class UrlStatus(NamedTuple):
    """One row of the status file; `status` is "ok", "failed" or "pending"."""

    url: str | None
    name: str | None
    status: str = "pending"
    reason: str | None = None
    detail: str | None = None
    http_status: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    final_url: str | None = None
    kind: str | None = None
    attempts: int = 0
    permanent: bool = False


STATUS_SCHEMA = pa.schema(
    [
        pa.field("url", pa.string()),
        pa.field("name", pa.string()),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("http_status", pa.int32()),
        pa.field("bytes", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("final_url", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("attempts", pa.int32()),
        pa.field("permanent", pa.bool_()),
    ]
)


def write_statuses(path: Path, rows: Sequence[UrlStatus]) -> None:
    """Write the status file atomically; equal rows give equal bytes."""
    with parquet_writer(path, STATUS_SCHEMA) as writer:
        for begin in range(0, len(rows), _ROW_GROUP):
            columns = zip(*rows[begin : begin + _ROW_GROUP], strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, STATUS_SCHEMA, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=STATUS_SCHEMA))


def read_statuses(path: Path) -> Iterable[UrlStatus]:
    """Yield the rows of a status file; none if there is no file.

    Raise UserError if it is damaged, or if it is not a status file.
    """
    if not is_file(path):
        return
    with open_parquet(path) as file:
        if file.schema_arrow != STATUS_SCHEMA:
            problem = "has other columns than a status file of image URLs"
            raise UserError(path, problem, "name another folder, or move the file elsewhere")
        for batch in file.iter_batches():
            yield from map(UrlStatus._make, zip(*(c.to_pylist() for c in batch), strict=True))


def count_statuses(statuses: Iterable[UrlStatus]) -> dict[str, int]:
    """Return the number of rows by "ok", "pending" or the reason of the failure, sorted."""
    return dict(sorted(Counter(one.reason or one.status for one in statuses).items()))
