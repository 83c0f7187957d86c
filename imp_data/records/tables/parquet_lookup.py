"""Read rows of a row group by their numbers.

A row group can only be decoded from its start. The reader therefore keeps its position between
calls in a process, so that consecutive chunks decode the row group once per process.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from imp_data.ledger import Reason, Verdict
from imp_data.records.json_array.spans import Offsets
from imp_data.records.tables.parquet_rows import Columns, RowGroup, limit_memory, read_batches
from imp_data.storage.digests import file_version


class _ForwardReader:
    """Read a row group forward, keeping the position between calls."""

    def __init__(self, group: RowGroup, columns: Columns) -> None:
        self.state = _state(group, columns)
        self._batches = read_batches(group, columns)
        self._batch: pa.RecordBatch | None = None
        self.begin = 0

    def slices(self, begin: int, end: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows from `begin` to `end`; `begin` must not precede the position reached."""
        while begin < end:
            if self._batch is None or begin >= self.begin + len(self._batch):
                self.begin += 0 if self._batch is None else len(self._batch)
                self._batch = next(self._batches)
                continue
            some = self._batch.slice(begin - self.begin, end - begin)
            yield some
            begin += len(some)


def _state(group: RowGroup, columns: Columns) -> tuple[object, ...]:
    """Return a key that changes with the row group, or with the file under the same name."""
    return group.file, group.number, columns, file_version(group.file)


# The reader of the last row group that this process read.
_readers: list[_ForwardReader] = []


def read_rows_at(
    group: RowGroup, columns: Columns, numbers: Offsets
) -> Iterator[dict[str, Any] | Verdict]:
    """Return the rows with these ascending numbers; a Verdict for a row that is not UTF-8."""
    reader = _readers.pop() if _readers else None
    if reader is None or reader.state != _state(group, columns) or (numbers < reader.begin).any():
        reader = _ForwardReader(group, columns)
    bounds = np.flatnonzero(np.diff(numbers, prepend=-2, append=-2) != 1)
    found = list[dict[str, Any] | Verdict]()
    with limit_memory():
        for first, until in pairwise(bounds.tolist()):
            begin, end = int(numbers[first]), int(numbers[until - 1]) + 1
            for batch in reader.slices(begin, end):
                found += _to_rows(batch, columns.absent)
    _readers.append(reader)
    return iter(found)


def _to_rows(batch: pa.RecordBatch, absent: tuple[str, ...]) -> list[dict[str, Any] | Verdict]:
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    columns += [pa.nulls(len(batch)) for _ in absent]
    try:
        whole = pa.RecordBatch.from_arrays(columns, [*batch.schema.names, *absent])
        return list(whole.to_pylist())
    except UnicodeDecodeError as error:
        if len(batch) > 1:
            return [
                value for n in range(len(batch)) for value in _to_rows(batch.slice(n, 1), absent)
            ]
        return [Verdict(Reason.NOT_UTF8, {"byte": error.start, "problem": error.reason})]
