"""Read the files of exclusion rules: lists of records, and scores to join."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.errors import UserError
from imp_data.manifests.exclusion_rules import ListedRecords, Score
from imp_data.storage.digests import xxh3_keys
from imp_data.storage.sorted_lookup import find_sorted
from imp_data.storage.tables import open_published_parquet

Keys = npt.NDArray[np.uint64]
_BATCH_ROWS = 1 << 16
_REMEDY = "correct the file, or the rule that names it in the mixture's manifest"


class ScoreTable(NamedTuple):
    """Scores by the ascending xxh3 of what joins them: 16 bytes each; NaN where there is none."""

    keys: Keys
    scores: npt.NDArray[np.float64]

    def find(self, values: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the score of each value, NaN where there is none."""
        places = find_sorted(self.keys, hash_values(values))
        scores = np.append(self.scores, np.nan)
        found: npt.NDArray[np.float64] = scores[places]
        return found


def hash_values(values: Sequence[str]) -> Keys:
    """Return the xxh3 of each value."""
    return np.array(xxh3_keys(0, values), np.uint64)


def read_list(path: Path, rule: ListedRecords) -> Keys:
    """Return the ascending xxh3 of the values in a list, 8 bytes each.

    Raise UserError if the file cannot be read, lists nothing or lacks the column.
    """
    column = rule.column or rule.of
    try:
        keys = [hash_values(values) for values in _list_values(path, column)]
    except KeyError:
        raise UserError(path, f"has no column {column!r}", _column_remedy("column")) from None
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise UserError(path, f"cannot be read ({error})", _REMEDY) from error
    listed = np.unique(np.concatenate([np.zeros(0, np.uint64), *keys]))
    if not len(listed):
        raise UserError(path, "lists nothing", "write what it lists, or leave the rule out")
    return listed


def _list_values(path: Path, column: str) -> Iterable[list[str]]:
    """Yield the values of a list. Raise KeyError if the column is absent."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        yield from _parquet_texts(path, column)
    elif ending == ".txt":
        yield [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    elif ending == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield [text for row in csv.DictReader(file) if (text := row[column])]
    elif ending == ".jsonl":
        lines = path.read_bytes().splitlines()
        yield [_text(orjson.loads(line), column) for line in lines if line.strip()]
    else:
        found = orjson.loads(path.read_bytes())
        if not isinstance(found, list):
            raise ValueError("it is no JSON array")
        yield [_text(one, column) for one in found]


def _text(value: Any, column: str) -> str:
    """Return a listed value, or the field of a listed object, as text."""
    found = value[column] if isinstance(value, dict) else value
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise ValueError(f"{str(found)[:40]!r} is neither text nor a whole number")
    return str(found)


def _parquet_texts(path: Path, column: str) -> Iterable[list[str]]:
    file = open_published_parquet(path)
    if column not in file.schema_arrow.names:
        raise KeyError(column)
    for batch in file.iter_batches(_BATCH_ROWS, columns=[column]):
        yield _as_texts(batch.column(0)).drop_null().to_pylist()


def _as_texts(column: pa.Array) -> pa.Array:
    kind = column.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ):
        raise ValueError(f"the joining column is {kind}, neither text nor whole numbers")
    return column.cast(pa.large_string())


def read_scores(path: Path, rule: Score) -> ScoreTable:
    """Return the scores of a Parquet file.

    Raise UserError if the file cannot be read, lacks a column, or gives one key two scores.
    """
    key, column = rule.key or rule.by, rule.column
    keys, scores = [np.zeros(0, np.uint64)], [np.zeros(0, np.float64)]
    try:
        file = open_published_parquet(path)
        for name, field in ((key, "key"), (column, "column")):
            if name not in file.schema_arrow.names:
                raise UserError(path, f"has no column {name!r}", _column_remedy(field))
        for batch in file.iter_batches(_BATCH_ROWS, columns=[key, column]):
            batch = batch.filter(pc.is_valid(batch.column(key)))
            keys.append(hash_values(_as_texts(batch.column(key)).to_pylist()))
            numbers = batch.column(column).cast(pa.float64())
            scores.append(pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(path, f"cannot be read ({error})", _REMEDY) from error
    joined, values = np.concatenate(keys), np.concatenate(scores)
    order = np.argsort(joined, kind="stable")
    joined, values = joined[order], values[order]
    again = joined[1:] == joined[:-1]
    if (again & ~_equal(values[1:], values[:-1])).any():
        problem = f"gives two scores {column!r} for one {key!r}"
        raise UserError(path, problem, "leave one score for each, for instance the lowest")
    first = np.append(True, ~again)[: len(joined)]
    return ScoreTable(joined[first], values[first])


def _equal(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    equal: npt.NDArray[np.bool_] = (one == other) | (np.isnan(one) & np.isnan(other))
    return equal


def _column_remedy(field: str) -> str:
    return f"name one of its columns as `{field}` of the rule"
