"""Rows of a row group by their numbers, at whatever order pieces of work ask for them.

A row group can only be decoded from its beginning on. So the place where a process has got to is
kept, and whoever asks for later rows goes on from there: all pieces together decode it once a
process.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from imp_data.ledger import Reason, Verdict
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.parquet_rows import Group, batches, bounded_memory, column_names
from imp_data.storage.digests import file_version


class _Forward:
    """Reads a row group from one row to a later one, and goes on from there when asked again."""

    def __init__(self, group: Group, without: str) -> None:
        self.state = _state(group, without)
        self.absent = [name for name in column_names(group.file) if name == without]
        self._batches = batches(group, without)
        self._batch: pa.RecordBatch | None = None
        self.begin = 0

    def slices(self, begin: int, end: int) -> Iterator[pa.RecordBatch]:
        """The rows up to `end`, from `begin` on, which is not before what was asked last."""
        while begin < end:
            if self._batch is None or begin >= self.begin + len(self._batch):
                self.begin += 0 if self._batch is None else len(self._batch)
                self._batch = next(self._batches)
                continue
            some = self._batch.slice(begin - self.begin, end - begin)
            yield some
            begin += len(some)


def _state(group: Group, without: str) -> tuple[object, ...]:
    """What differs where another row group, or another file under its name, is asked for."""
    return group.file, group.number, without, file_version(group.file)


# Of the row group that this process was last asked for.
_kept: list[_Forward] = []


def rows_at(group: Group, without: str, numbers: Offsets) -> Iterator[dict[str, Any] | Verdict]:
    """The rows of these numbers, which ascend; or why one of them is no text.

    The column that is left out is None in each.
    """
    reader = _kept.pop() if _kept else None
    if reader is None or reader.state != _state(group, without) or (numbers < reader.begin).any():
        reader = _Forward(group, without)
    bounds = np.flatnonzero(np.diff(numbers, prepend=-2, append=-2) != 1)
    found = list[dict[str, Any] | Verdict]()
    with bounded_memory():
        for first, until in pairwise(bounds.tolist()):
            begin, end = int(numbers[first]), int(numbers[until - 1]) + 1
            for batch in reader.slices(begin, end):
                found += _values(batch, reader.absent)
    _kept.append(reader)
    return iter(found)


def _values(batch: pa.RecordBatch, absent: list[str]) -> list[dict[str, Any] | Verdict]:
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
                value for n in range(len(batch)) for value in _values(batch.slice(n, 1), absent)
            ]
        return [Verdict(Reason.NOT_UTF8, {"byte": error.start, "problem": error.reason})]
