"""Read images from the cells of Parquet and Arrow files in place."""

import binascii
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.images.archive_errors import DamagedMember, TooManyBytes
from imp_data.records.tables.json_images import find_json_image
from imp_data.storage.arrow_batches import open_batches
from imp_data.storage.embedded_names import EmbeddedCell
from imp_data.storage.object_store import ObjectState
from imp_data.storage.tables import open_published_parquet

# Differs once a file has changed.
State = int | ObjectState | tuple[int, int | str]

# Images are decoded a few at a time, so that a row group is never in memory as a whole.
_ROWS_AT_ONCE = 8
_BUFFER_BYTES = 1 << 20
_READERS_KEPT = 4
_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)


def read_parquet_image(
    file: Path, state: State, cell: EmbeddedCell, max_bytes: int
) -> bytes | None:
    """Return the bytes in a cell; None if there is no such cell or it is null.

    Cells in the order of their rows are read fastest: a row group is decoded from its start.
    Raise DamagedMember, TooManyBytes; UserError if the file is not Parquet.
    """
    group, row = find_row_group(file, state, cell.row)
    if group < 0:
        return None
    try:
        column = _column(file, state, group, cell.column)
        found = None if column is None else column.read(row)
    except _ERRORS as error:
        _columns.pop((file, state, group, cell.column), None)
        raise DamagedMember(str(error)) from error
    return _image_bytes(found, cell, max_bytes)


def find_row_group(file: Path, state: State, row: int) -> tuple[int, int]:
    """Return the row group of a row of a file, and the row in it; -1 if there is no such row."""
    first_rows = _first_rows(file, state)
    if row >= first_rows[-1]:
        return -1, 0
    group = int(np.searchsorted(first_rows, row, side="right")) - 1
    return group, row - int(first_rows[group])


def read_row_count(file: Path, state: State) -> int:
    """Return the number of rows of a Parquet file. Raise UserError if it is none."""
    return int(_first_rows(file, state)[-1])


@lru_cache(maxsize=64)
def _first_rows(file: Path, state: State) -> Any:
    """Return the first row of each row group, and the number of all rows, by the footer."""
    metadata = _open(file).metadata
    sizes = [max(metadata.row_group(n).num_rows, 0) for n in range(metadata.num_row_groups)]
    return np.cumsum([0, *sizes])


def _open(file: Path) -> pq.ParquetFile:
    try:
        return open_published_parquet(
            file,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except _ERRORS as error:
        raise UserError(
            file,
            f"is not a complete Parquet file ({error})",
            "replace it, or download it again",
        ) from error


class _ColumnReader:
    """Reads the cells of one column in one row group, forward, and again from the start."""

    def __init__(self, file: Path, group: int, column: str) -> None:
        self._file, self._group, self._name = file, group, column
        self._restart()

    def _restart(self) -> None:
        self._batches: Iterator[pa.RecordBatch] = _open(self._file).iter_batches(
            _ROWS_AT_ONCE, row_groups=[self._group], columns=[self._name], use_threads=False
        )
        self._batch: pa.RecordBatch | None = None
        self._begin = 0

    def read(self, row: int) -> pa.Scalar | None:
        """Return the cell of a row; None if the row group ends before it."""
        if row < self._begin:
            self._restart()
        while self._batch is None or row >= self._begin + len(self._batch):
            self._begin += 0 if self._batch is None else len(self._batch)
            self._batch = next(self._batches, None)
            if self._batch is None:
                self._restart()
                return None
        return self._batch.column(0)[row - self._begin]


_columns: OrderedDict[tuple[Path, State, int, str], _ColumnReader] = OrderedDict()


def _column(file: Path, state: State, group: int, name: str) -> _ColumnReader | None:
    """Return the reader of a column, of the few that this process used last."""
    key = (file, state, group, name)
    reader = _columns.pop(key, None)
    if reader is None:
        if name not in _open(file).schema_arrow.names:
            return None
        reader = _ColumnReader(file, group, name)
    _columns[key] = reader
    while len(_columns) > _READERS_KEPT:
        _columns.popitem(last=False)
    return reader


def read_arrow_image(file: Path, cell: EmbeddedCell, max_bytes: int) -> bytes | None:
    """Return the bytes in a cell of an Arrow file; see `read_parquet_image`."""
    found = open_batches(file)
    number = int(np.searchsorted(found.first_rows, cell.row, side="right")) - 1
    if number >= len(found.batches):
        if found.problem is not None:
            raise DamagedMember(found.problem)
        return None
    batch = found.batches[number]
    if cell.column not in batch.schema.names:
        return None
    try:
        value = batch.column(cell.column)[cell.row - found.first_rows[number]]
        return _image_bytes(value, cell, max_bytes)
    except _ERRORS as error:
        raise DamagedMember(str(error)) from error


def _image_bytes(value: pa.Scalar | None, cell: EmbeddedCell, max_bytes: int) -> bytes | None:
    """Return the bytes of a cell, or of one image of a list: a struct, bytes or base64 text."""
    if value is None or not value.is_valid:
        return None
    number = cell.number
    if cell.inner:
        text = find_json_image(value.as_py(), number or 0)
        return None if text is None else decode_base64(text, max_bytes)
    if number is not None:
        if number >= len(value):
            return None
        value = value[number]
    elif pa.types.is_list(value.type) or pa.types.is_large_list(value.type):
        # A row named by its number has one image.
        if len(value) != 1:
            raise DamagedMember(f"the cell holds {len(value)} images")
        value = value[0]
    if pa.types.is_struct(value.type):
        value = value["bytes"] if value.is_valid else None
    if value is None or not value.is_valid:
        return None
    if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
        return decode_base64(value.as_py(), max_bytes)
    data = value.as_buffer()
    if data.size > max_bytes:
        raise TooManyBytes
    return bytes(data.to_pybytes())


def decode_base64(text: str, max_bytes: int) -> bytes:
    """Return the bytes of an image as base64, alone or as a `data:` URI.

    Raise DamagedMember if it is not base64, TooManyBytes.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if len(text) * 3 // 4 > max_bytes + 2:
        raise TooManyBytes
    try:
        return binascii.a2b_base64(text)
    except (binascii.Error, ValueError) as error:
        raise DamagedMember(f"it is not base64 ({error})") from error
