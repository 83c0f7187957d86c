"""Read a list of image URLs: Parquet, CSV, JSON Lines, or text with a URL in each line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from imp_data.errors import UserError
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind, kind_phrase
from imp_data.storage.range_reader import open_file
from imp_data.storage.tables import open_published_parquet

_REMEDY = "name a Parquet, CSV, JSON Lines or text file with a URL in each row"
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


class UrlColumns(NamedTuple):
    """The columns of a list; a text file has URLs alone."""

    url: str = "url"
    name: str | None = None
    sha256: str | None = None


class UrlRow(NamedTuple):
    """One row of a list; `problem` is why it cannot be read."""

    url: str | None
    name: str | None = None
    sha256: str | None = None
    problem: str = ""


def read_url_list(path: Path, columns: UrlColumns) -> list[UrlRow]:
    """Return the rows of a list in order; an unreadable line of JSON is a row with a problem.

    Memory: the whole list. Raise UserError if the file cannot be read or lacks a column.
    """
    try:
        with open_file(path) as file:
            kind = detect_kind(file.read(HEAD_BYTES))
        if kind == "parquet":
            return list(_parquet_rows(path, columns))
        if kind not in (None, "json"):
            raise UserError(path, f"is {kind_phrase(kind)}", _REMEDY)
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not in UTF-8: byte {error.start + 1:,}", _REMEDY) from None
    except (OSError, pa.ArrowException) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise UserError(path, f"cannot be read ({why})", _REMEDY) from None
    suffix = path.suffix.lower()
    if suffix in _JSON_LINES:
        return [_json_row(line, columns) for line in text.split("\n") if line.strip()]
    if suffix in _SEPARATORS:
        return list(_csv_rows(path, text, _SEPARATORS[suffix], columns))
    return [UrlRow(line.strip()) for line in text.splitlines() if line.strip()]


def _named(columns: UrlColumns) -> list[str]:
    return [name for name in columns if name is not None]


def _check_columns(path: Path, present: Sequence[str], columns: UrlColumns) -> None:
    if lacking := [name for name in _named(columns) if name not in present]:
        problem = f"has no column {', '.join(lacking)}; its columns are {', '.join(present)}"
        raise UserError(path, problem, "name the column that contains it")


def _parquet_rows(path: Path, columns: UrlColumns) -> Iterator[UrlRow]:
    with open_published_parquet(path) as file:
        _check_columns(path, file.schema_arrow.names, columns)
        for batch in file.iter_batches(columns=list(dict.fromkeys(_named(columns)))):
            for values in batch.to_pylist():
                yield _row(values, columns)


def _csv_rows(path: Path, text: str, separator: str, columns: UrlColumns) -> Iterator[UrlRow]:
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=separator)
    _check_columns(path, reader.fieldnames or [], columns)
    try:
        for values in reader:
            yield _row(values, columns)
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}", f"is not CSV ({error})", _REMEDY
        ) from None


def _json_row(line: str, columns: UrlColumns) -> UrlRow:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return UrlRow(None, problem=f"is not JSON ({error})")
    if not isinstance(value, dict):
        return UrlRow(None, problem="is not a JSON object")
    return _row(value, columns)


def _row(values: dict[str, Any], columns: UrlColumns) -> UrlRow:
    """Return a row; a value of another type than text is a problem of the row."""
    found = [None if c is None else values.get(c) for c in columns]
    for column, value in zip(columns, found, strict=True):
        if value is not None and not isinstance(value, str):
            return UrlRow(None, problem=f"{column} is not text")
    url, name, sha256 = found
    sha256 = sha256.strip().lower() if sha256 else None
    return UrlRow(url, name, sha256 or None, "" if url and url.strip() else "has no URL")
