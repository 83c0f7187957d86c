"""Rows of Parquet files: those that decode, in pieces of bounded size, and those that are lost.

A footer may lie, and a page of some bytes may decode to gigabytes. So each row group is read once
to see which of its rows can be had, in a process that may crash, with bounded memory and time; and
texts are held once each, however often they are repeated.
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
from imp_data.parallel import Died, map_ordered
from imp_data.records.json_array.spans import Offsets
from imp_data.records.layouts.base import CHUNK_ROWS, read_bytes
from imp_data.storage.object_store import file_size
from imp_data.storage.tables import published_parquet_file

_BUFFER_BYTES = 1 << 20
# What decoding one row group may take.
_DECODING_BYTES = 512 << 20
# A row group may decode to so many bytes, or so many times those of its file. No real one of this
# size repeats itself so often. Each row counts for some bytes more than its texts.
_MOST_BYTES, _MOST_TIMES, _ROW_BYTES = 1 << 30, 256, 64
_PROBLEM_CHARACTERS = 200
_STATM = Path("/proc/self/statm")
ERRORS = (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError)


class Group(NamedTuple):
    """A row group, and how many rows the footer gives it."""

    file: Path
    number: int
    stated: int


class Found(NamedTuple):
    """What can be had of a row group, and why that is not all of it.

    `counts` has how many rows in a row are read together, `large` the bytes of those that are
    larger than a record may be.
    """

    group: Group
    counts: list[int]
    large: dict[int, int]
    problem: str | None


class Piece(NamedTuple):
    """So many rows of a row group to be read together, from `begin` on; or rows that are lost."""

    group: Group
    begin: int
    rows: int
    large: Mapping[int, int] = MappingProxyType({})
    problem: str | None = None

    def evidence(self) -> dict[str, Any]:
        """What the ledger says of rows that are lost."""
        where = {"file": self.group.file.name, "row_group": self.group.number}
        return {**where, "first_row": self.begin, "rows": self.rows, "problem": self.problem}


def pieces_of(found: Found) -> Iterator[Piece]:
    """The rows of a row group that are read together; at its end those that are lost."""
    begin, large_rows = 0, sorted(found.large)
    for count in found.counts:
        some = slice(*(bisect_left(large_rows, row) for row in (begin, begin + count)))
        large = {row: found.large[row] for row in large_rows[some]}
        yield Piece(found.group, begin, count, large)
        begin += count
    if found.problem is not None:
        lost = max(found.group.stated - begin, 0)
        yield Piece(found.group, begin, lost, problem=found.problem)


def uncounted(file: Path, stated: int, counted: int) -> Piece:
    """What is told of a footer whose count of all rows is not that of its row groups."""
    problem = f"the footer counts {stated:,} rows, its row groups have {counted:,}"
    return Piece(Group(file, -1, 0), 0, max(stated - counted, 0), problem=problem)


def row_groups(file: Path, needed: tuple[str, ...]) -> tuple[list[Group], int]:
    """The row groups of a file, and how many rows its footer counts in all.

    Raises UserError if the footer cannot be read, or if a column that is needed is not there.
    """
    parquet = _opened(file)
    missing = sorted(set(needed) - set(parquet.schema_arrow.names))
    if missing:
        raise UserError(
            file, f"lacks the columns {', '.join(missing)}", "pin the revision the manifest names"
        )
    footer = parquet.metadata
    groups = [
        Group(file, number, max(footer.row_group(number).num_rows, 0))
        for number in range(footer.num_row_groups)
    ]
    return groups, footer.num_rows


def column_names(file: Path) -> list[str]:
    """The columns of a file."""
    return list(_opened(file).schema_arrow.names)


def _opened(file: Path, texts: list[str] | None = None) -> pq.ParquetFile:
    try:
        return published_parquet_file(
            file,
            read_dictionary=texts,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except ERRORS as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: object) -> UserError:
    """A file of which nothing can be read."""
    return UserError(
        file, f"is not a whole Parquet file ({error})", "put a whole one there, or fetch it anew"
    )


def surveyed(groups: list[Group], without: str, limits: Limits) -> Iterator[Found]:
    """What can be had of each row group; `without` is a column that is not read."""
    survey = partial(_survey, without=without, most=limits.max_record_bytes)
    seconds = limits.max_read_seconds

    def crashed(group: Group, how: Died) -> Found:
        endless = f"keeps its reader busy for more than {seconds} s"
        return Found(group, [], {}, endless if how.too_long else "crashes its reader")

    return map_ordered(survey, groups, on_crash=crashed, seconds=seconds)


def _survey(group: Group, without: str, most: int) -> Found:
    counts, large = list[int](), dict[int, int]()
    begin = decoded = 0
    problem = None
    size = file_size(group.file)
    allowed = max(_MOST_BYTES, _MOST_TIMES * size)
    try:
        with bounded_memory():
            for batch in batches(group, without):
                sizes = _sizes(batch)
                counts += _together(read_bytes(sizes, most), most)
                for row in np.flatnonzero(sizes > most).tolist():
                    large[begin + row] = int(sizes[row])
                begin += len(batch)
                decoded += int(sizes.sum()) + _ROW_BYTES * len(batch)
                if decoded > allowed:
                    problem = f"decodes to more than {allowed:,} bytes, of a file of {size:,}"
                    return Found(group, [], {}, problem)
    except ERRORS as error:
        problem = " ".join(str(error).split())[:_PROBLEM_CHARACTERS] or type(error).__name__
    if problem is None and begin != group.stated:
        problem = f"the footer counts {group.stated:,} rows, there are {begin:,}"
    return Found(group, counts, large, problem)


def _together(sizes: Offsets, most: int) -> Iterator[int]:
    """How many rows in a row are together no larger than one may be."""
    held, done = np.append(0, np.cumsum(sizes)), 0
    while done < len(sizes):
        until = int(np.searchsorted(held, held[done] + most, side="right")) - 1
        yield until - done
        done = until


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let this process have so much memory and no more: what needs more fails with an error."""
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


def batches(group: Group, without: str) -> Iterator[pa.RecordBatch]:
    """A row group from its beginning on; texts by their place in a dictionary."""
    schema = _opened(group.file).schema_arrow
    names = [name for name in schema.names if name != without]
    texts = [name for name in names if _is_text(schema.field(name).type)]
    yield from _opened(group.file, texts).iter_batches(
        CHUNK_ROWS, row_groups=[group.number], columns=names, use_threads=False
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _sizes(batch: pa.RecordBatch) -> Offsets:
    """About how many bytes each row of a batch has."""
    sizes = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.binary_length(column.dictionary).take(column.indices)
            sizes += pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
        else:
            sizes += column.nbytes // max(len(batch), 1)
    return sizes
