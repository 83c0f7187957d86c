"""Survey Parquet files: which rows decode, in ranges of bounded size, and which are lost.

A footer may be wrong, and a page of a few bytes may decode to gigabytes. So each row group is
decoded once, with bounded memory and time, in a process that may crash; repeated texts are held
once, as a dictionary.
"""

import resource
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imp_data.errors import UserError
from imp_data.manifests import Limits
from imp_data.parallel import Crash, map_ordered
from imp_data.records.json_array.spans import Offsets
from imp_data.records.record_chunk import CHUNK_ROWS, readable_sizes
from imp_data.storage.object_store import file_size
from imp_data.storage.tables import open_published_parquet

_BUFFER_BYTES = 1 << 20
# Memory limit for decoding one row group.
_DECODING_BYTES = 512 << 20
# A row group may decode to this many bytes, or to this multiple of its file's size; no real row
# group of this size is as repetitive. Each row counts for some bytes more than its texts.
_MAX_BYTES, _MAX_RATIO, _ROW_BYTES = 1 << 30, 256, 64
_PROBLEM_CHARACTERS = 200
_STATM = Path("/proc/self/statm")
READ_ERRORS = (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError)


class Columns(NamedTuple):
    """The columns of a file that are read: names, or paths of leaves such as `image.path`.

    `absent` are columns that are not read; each row has None in their place.
    """

    read: tuple[str, ...]
    absent: tuple[str, ...] = ()


class RowGroup(NamedTuple):
    """A row group, and its row count according to the footer."""

    file: Path
    number: int
    footer_rows: int


class RowGroupSurvey(NamedTuple):
    """The readable rows of a row group, and the problem that makes others unreadable.

    `counts` holds the numbers of consecutive rows to read together; `large` maps rows above the
    record size limit to their size in bytes.
    """

    group: RowGroup
    counts: list[int]
    large: dict[int, int]
    problem: str | None


class RowRange(NamedTuple):
    """Consecutive rows of a row group to read together, or rows that are lost."""

    group: RowGroup
    begin: int
    rows: int
    large: Mapping[int, int] = MappingProxyType({})
    problem: str | None = None

    def evidence(self) -> dict[str, Any]:
        """Return the ledger's evidence for lost rows."""
        where = {"file": self.group.file.name, "row_group": self.group.number}
        return {**where, "first_row": self.begin, "rows": self.rows, "problem": self.problem}


def split_into_ranges(found: RowGroupSurvey) -> Iterator[RowRange]:
    """Yield the ranges of a row group that are read together, then the lost rows."""
    begin, large_rows = 0, sorted(found.large)
    for count in found.counts:
        some = slice(*(bisect_left(large_rows, row) for row in (begin, begin + count)))
        large = {row: found.large[row] for row in large_rows[some]}
        yield RowRange(found.group, begin, count, large)
        begin += count
    if found.problem is not None:
        lost = max(found.group.footer_rows - begin, 0)
        yield RowRange(found.group, begin, lost, problem=found.problem)


def lost_rows(file: Path, footer_rows: int, counted: int) -> RowRange:
    """Return the lost rows of a file whose footer total differs from its row groups' sum."""
    problem = f"the footer counts {footer_rows:,} rows, its row groups have {counted:,}"
    return RowRange(RowGroup(file, -1, 0), 0, max(footer_rows - counted, 0), problem=problem)


def read_row_groups(file: Path, needed: tuple[str, ...]) -> tuple[list[RowGroup], int]:
    """Return the row groups of a file, and the footer's total row count.

    Raises UserError if the footer cannot be read or a needed column is missing.
    """
    parquet = open_upstream(file)
    missing = sorted(set(needed) - set(parquet.schema_arrow.names))
    if missing:
        raise UserError(
            file, f"lacks the columns {', '.join(missing)}", "pin the revision the manifest names"
        )
    footer = parquet.metadata
    groups = [
        RowGroup(file, number, max(footer.row_group(number).num_rows, 0))
        for number in range(footer.num_row_groups)
    ]
    return groups, footer.num_rows


def columns_without(file: Path, *names: str) -> Columns:
    """Return all columns of a file but these."""
    found = open_upstream(file).schema_arrow.names
    read = tuple(name for name in found if name not in names)
    return Columns(read, tuple(name for name in found if name in names))


def open_upstream(file: Path, texts: list[str] | None = None) -> pq.ParquetFile:
    """Open a Parquet file, with `texts` as dictionaries.

    Raise UserError if its footer cannot be read.
    """
    try:
        return open_published_parquet(
            file,
            read_dictionary=texts,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except READ_ERRORS as error:
        raise damaged_file_error(file, error) from error


def damaged_file_error(file: Path, error: object) -> UserError:
    """Return the error for a file in which nothing can be read."""
    return UserError(
        file, f"is not a complete Parquet file ({error})", "replace it, or download it again"
    )


def survey_row_groups(
    groups: list[RowGroup], columns: Columns, limits: Limits
) -> Iterator[RowGroupSurvey]:
    """Find the rows of each row group in which these columns can be read."""
    survey = partial(_survey, columns=columns, max_bytes=limits.max_record_bytes)
    seconds = limits.max_read_seconds

    def report_crash(group: RowGroup, how: Crash) -> RowGroupSurvey:
        endless = f"keeps its reader busy for more than {seconds} s"
        return RowGroupSurvey(group, [], {}, endless if how.too_long else "crashes its reader")

    return map_ordered(survey, groups, on_crash=report_crash, seconds=seconds)


def _survey(group: RowGroup, columns: Columns, max_bytes: int) -> RowGroupSurvey:
    counts, large = list[int](), dict[int, int]()
    begin = decoded = 0
    problem = None
    size = file_size(group.file)
    allowed = max(_MAX_BYTES, _MAX_RATIO * size)
    try:
        with limit_memory():
            for batch in read_batches(group, columns):
                sizes = row_sizes(batch)
                counts += _count_fitting(readable_sizes(sizes, max_bytes), max_bytes)
                for row in np.flatnonzero(sizes > max_bytes).tolist():
                    large[begin + row] = int(sizes[row])
                begin += len(batch)
                decoded += int(sizes.sum()) + _ROW_BYTES * len(batch)
                if decoded > allowed:
                    problem = f"decodes to more than {allowed:,} bytes, of a file of {size:,}"
                    return RowGroupSurvey(group, [], {}, problem)
    except READ_ERRORS as error:
        problem = " ".join(str(error).split())[:_PROBLEM_CHARACTERS] or type(error).__name__
    if problem is None and begin != group.footer_rows:
        problem = f"the footer counts {group.footer_rows:,} rows, there are {begin:,}"
    return RowGroupSurvey(group, counts, large, problem)


def _count_fitting(sizes: Offsets, max_bytes: int) -> Iterator[int]:
    """Yield counts of consecutive rows that together stay within the record size limit."""
    held, done = np.append(0, np.cumsum(sizes)), 0
    while done < len(sizes):
        until = int(np.searchsorted(held, held[done] + max_bytes, side="right")) - 1
        yield until - done
        done = until


@contextmanager
def limit_memory() -> Iterator[None]:
    """Limit this process's memory: allocations beyond the limit raise an error (Linux only)."""
    if not _STATM.exists():  # of Linux
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    soft = int(_STATM.read_text().split()[5]) * resource.getpagesize() + _DECODING_BYTES
    soft = min(n for n in (soft, *before) if n != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def read_batches(group: RowGroup, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Read columns of a row group from its start, with texts dictionary-encoded."""
    schema = open_upstream(group.file).schema_arrow
    texts = [name for name in schema.names if _is_text(schema.field(name).type)]
    yield from open_upstream(
        group.file, [name for name in texts if name in columns.read]
    ).iter_batches(
        CHUNK_ROWS, row_groups=[group.number], columns=list(columns.read), use_threads=False
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def row_sizes(batch: pa.RecordBatch) -> Offsets:
    """Return the approximate size of each row in bytes."""
    sizes = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.binary_length(column.dictionary).take(column.indices)
            sizes += pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
        else:
            sizes += column.nbytes // max(len(batch), 1)
    return sizes
