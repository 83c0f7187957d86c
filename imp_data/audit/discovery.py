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

_TEXT_ENDINGS = (".json", ".jsonl", ".ndjson")
_ENDINGS = (
    *(".parquet", ".arrow", ".tar", *_TEXT_ENDINGS),
    *(text + packed for text in _TEXT_ENDINGS for packed in COMPRESSED_ENDINGS),
)
# Files beside records: indexes of `datasets`, statistics of img2dataset, models, Croissant.
_NOT_RECORDS = re.compile(
    r"(dataset_infos?|state|config|metadata|croissant)\.json$|_stats\.json$|(^|/)\.[^/]"
)
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
    """Find the form of each file. Raise UserError if none can be read."""
    found: dict[str, list[str]] = {}
    unknown: dict[str, list[str]] = {}
    not_read: dict[str, str] = {}
    damage: UserError | None = None
    for file in files:
        try:
            records = list(islice(_first_records(folder, file, columns), _RECORDS_TRIED))
        except UserError as error:
            damage, not_read[file] = damage or error, error.problem
            continue
        name = form or find_form(records)
        if name is None:
            unknown[file] = list(dict.fromkeys(field for record in records for field in record))
            not_read[file] = f"has no form that is known; columns: {', '.join(unknown[file])}"
        else:
            found.setdefault(name, []).append(file)
    if not found:
        raise _no_form_error(folder, unknown) if unknown or damage is None else damage
    return Discovery([FoundRecords(name, tuple(some)) for name, some in found.items()], not_read)


def list_record_names(path: Path) -> tuple[Path, list[str]]:
    """Return the folder of a path, and the files of records in it; of a file, that file.

    Raise UserError if there is none.
    """
    if path.is_file():
        return path.parent, [path.name]
    if not path.is_dir():
        raise UserError(path, "does not exist", "name a file or a folder of records")
    names = [name for name, _ in list_files(path) if name.lower().endswith(_ENDINGS)]
    names = sorted(n for n in names if not is_sidecar(n) and not _NOT_RECORDS.search(n))
    tars = {name[: -len(".tar")] for name in names if name.endswith(".tar")}
    names = [name for name in names if name.rpartition(".")[0] not in tars or name.endswith(".tar")]
    if not names:
        listed = ", ".join(f"*{ending}" for ending in _ENDINGS)
        raise UserError(path, f"holds no file of records ({listed})", "name the file of records")
    return path, names


def _first_records(folder: Path, file: str, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the first records of a file that are objects."""
    source = audit_source("audit", "messages", (file,), columns)
    for chunk in record_chunks(folder, source, Limits()):
        for rows in read_records(chunk, source):
            for row in parse_rows(rows):
                if not isinstance(row, RejectedRecord):
                    yield row.value


def audit_source(
    name: str, form: str, files: tuple[str, ...], columns: Mapping[str, str]
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
            "prompts": ("Describe this image.",),
            "max_images": _MOST_IMAGES,
        }
    )


def _no_form_error(folder: Path, unknown: Mapping[str, Sequence[str]]) -> UserError:
    lines = "".join(
        f"\n  {file}: {', '.join(fields) or 'no record can be read'}"
        for file, fields in islice(unknown.items(), 10)
    )
    return UserError(
        folder,
        f"no file's records have a form that is known; their columns are:{lines}",
        f"name the form (--form {'|'.join(FORMS)}) and its columns (--column question=query)",
    )
