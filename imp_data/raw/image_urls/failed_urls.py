"""Why images could not be downloaded by URL, as evidence for the ledger."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc

from imp_data.errors import UserError
from imp_data.manifests import ImageCollection
from imp_data.raw.image_urls.collection import url_collections
from imp_data.raw.image_urls.status import STATUS_FILE, STATUS_SCHEMA, FailureReason
from imp_data.redaction import address
from imp_data.storage.digests import text_digest
from imp_data.storage.object_store import is_file
from imp_data.storage.tables import open_parquet

# {image: evidence}
UrlFailures = dict[str, dict[str, Any]]

_COLUMNS = ["url", "name", "status", "reason", "http_status"]
_PENDING = "The URL has not been requested yet."
_SENTENCES = {reason.value: reason.sentence for reason in FailureReason}


def collection_failures(collection: ImageCollection, folder: Path) -> UrlFailures:
    """Return the failures of a collection by the paths of its images; none if it has no URLs."""
    if not url_collections([collection], folder):
        return {}
    prefix = collection.folders[0].path
    named = read_url_failures(folder / STATUS_FILE)
    return {f"{prefix}/{name}": evidence for name, evidence in named.items()}


def read_url_failures(path: Path) -> UrlFailures:
    """Return the failures in a status file by name; none if there is no file.

    Raise UserError if it is damaged, or if it is not a status file.
    """
    if not is_file(path):
        return {}
    with open_parquet(path) as file:
        if file.schema_arrow != STATUS_SCHEMA:
            problem = "has other columns than a status file of image URLs"
            raise UserError(path, problem, "name another folder, or move the file elsewhere")
        table = file.read(_COLUMNS)
    found = UrlFailures()
    for row in table.filter(pc.not_equal(table["status"], "ok")).to_pylist():
        if row["name"] is not None:
            found.setdefault(row["name"], _evidence(row))
    return found


def _evidence(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is the same in each run with the same answers of the server."""
    reason = row["reason"]
    evidence = {"url_status": reason or row["status"]}
    evidence["problem"] = _SENTENCES.get(reason, _PENDING)
    if row["url"] is not None:
        evidence["url"] = address(row["url"])
    if row["http_status"] is not None:
        evidence["http_status"] = row["http_status"]
    return evidence


def failures_digest(failures: UrlFailures) -> str:
    """Return a digest of the evidence."""
    return text_digest(orjson.dumps(failures, option=orjson.OPT_SORT_KEYS))
