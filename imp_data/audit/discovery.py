"""Find the files of records at a path, and the form of their records."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.manifests import Limits, Source
from imp_data.records.forms import FORMS, find_form
from imp_data.records.forms.record_files import read_records, record_chunks
from imp_data.records.layouts.base import parse_rows
from imp_data.sample import RejectedRecord
from imp_data.storage.decompressed import COMPRESSED_ENDINGS
from imp_data.storage.folders import is_sidecar, list_files
from imp_data.storage.paths import has_latency

_TEXT_ENDINGS = (".json", ".jsonl", ".ndjson")
_ENDINGS = (
    *(".parquet", ".arrow", ".tar", *_TEXT_ENDINGS),
    *(text + packed for text in _TEXT_ENDINGS for packed in COMPRESSED_ENDINGS),
)
# Files beside records: indexes of `datasets`, statistics of img2dataset, models, Croissant, and
# what `fetch-images` and an audit write.
_NOT_RECORDS = re.compile(
    r"(dataset_infos?|state|config|metadata|croissant)\.json$|_stats\.json$|(^|/)\.[^/]"
    r"|(^|/)(url_status\.parquet|ledger\.parquet|audit\.json)$"
)
# `train-00000-of-00012`, or with a hash behind it.
_SHARD_NUMBERS = re.compile(r"[0-9a-f]{16,}|\d+")
_RECORDS_TRIED = 64
# Of a record: an audit counts them, and leaves the limit to whoever builds.
_MOST_IMAGES = 1000


class FoundRecords(NamedTuple):
    """Files whose records have one form; `files` are paths below the audited folder."""

    form: str
    files: tuple[str, ...]


class Discovery(NamedTuple):
    """The files by form, in the order in which the forms appear; and {file: why it is not read}."""

    found: list[FoundRecords]
    not_read: dict[str, str]


def find_records(
    folder: Path, files: Sequence[str], columns: Mapping[str, str], form: str | None
) -> Discovery:
    """Find the form of each file. Raise UserError if none can be read.

    Of the shards of one table on the Hub only the first is examined.
    """
    found: dict[str, list[str]] = {}
    not_read: dict[str, str] = {}
    known: dict[str, str] = {}
    damage: UserError | None = None
    for file in files:
        table = _SHARD_NUMBERS.sub("#", file) if has_latency(folder) else file
        if table in known:
            found[known[table]].append(file)
            continue
        try:
            records = list(islice(_first_records(folder, file, columns), _RECORDS_TRIED))
        except UserError as error:
            damage, not_read[file] = damage or error, error.problem
            continue
        name = form or find_form(records)
        if name is None:
            not_read[file] = _why_unknown(records)
        else:
            found.setdefault(name, []).append(file)
            known[table] = name
    if not found:
        raise damage if damage and len(not_read) == 1 else _no_form_error(folder, not_read)
    return Discovery([FoundRecords(name, tuple(some)) for name, some in found.items()], not_read)


def _why_unknown(records: Sequence[dict[str, Any]]) -> str:
    """Return why a file is not read: it names data sets in other files, or has no known form."""
    if len(records) == 1 and (named := _named_files(records[0])):
        shown = ", ".join(named[:3]) + (f", and {len(named) - 3:,} more" if len(named) > 3 else "")
        return f"lists data sets, and holds no records: audit the files that it names ({shown})"
    fields = list(dict.fromkeys(field for record in records for field in record))
    if not fields:
        return "holds no record that can be read"
    return f"has no form that is known; columns: {', '.join(fields)}"


def _named_files(record: dict[str, Any]) -> list[str]:
    """Return the files that a trainer's list of data sets names: {name: {"annotation": file}}."""
    parts = [part for part in record.values() if isinstance(part, dict)]
    found = [part.get("annotation") or part.get("file_name") for part in parts]
    whole = len(parts) == len(record) and all(isinstance(file, str) for file in found)
    return [str(file) for file in found] if whole else []


def list_names(folder: Path) -> list[str]:
    """Return the names of all files below a folder, but those that a desktop added."""
    return [name for name, _ in list_files(folder) if not is_sidecar(name)]


def record_names(where: object, names: Sequence[str]) -> list[str]:
    """Return those files that may hold records, sorted. Raise UserError if there are none."""
    chosen = [name for name in names if name.lower().endswith(_ENDINGS)]
    chosen = sorted(name for name in chosen if not _NOT_RECORDS.search(name))
    tars = {name[: -len(".tar")] for name in chosen if name.endswith(".tar")}
    chosen = [n for n in chosen if n.rpartition(".")[0] not in tars or n.endswith(".tar")]
    if not chosen:
        listed = ", ".join(f"*{ending}" for ending in _ENDINGS)
        raise UserError(where, f"holds no file of records ({listed})", "name the file of records")
    return chosen


def _first_records(folder: Path, file: str, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the first records of a file that are objects."""
    source = audit_source("audit", "messages", (file,), columns)
    for chunk in record_chunks(folder, source, Limits()):
        for rows in read_records(chunk, source):
            for row in parse_rows(rows):
                if not isinstance(row, RejectedRecord):
                    yield row.value


def audit_source(
    name: str,
    form: str,
    files: tuple[str, ...],
    columns: Mapping[str, str],
    ignored_fields: tuple[str, ...] = (),
) -> Source:
    """Return the manifest of a source of these files."""
    return Source.model_validate(
        {
            "name": name,
            "title": name,
            "homepage": "",
            "license": "unknown",
            "layout": form,
            "records": files,
            "columns": dict(columns),
            "ignore_fields": ignored_fields,
            "prompts": ("Describe this image.",),
            "max_images": _MOST_IMAGES,
        }
    )


def _no_form_error(folder: Path, not_read: Mapping[str, str]) -> UserError:
    lines = "".join(f"\n  {file}: {why}" for file, why in islice(not_read.items(), 10))
    return UserError(
        folder,
        f"no file has records of a form that is known:{lines}",
        f"name the form (--form {'|'.join(FORMS)}) and its columns (--column question=query)",
    )
