"""Open the record batches of an Arrow file or stream in place, without reading their columns."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from imp_data.storage.digests import file_version
from imp_data.storage.paths import check_local

_FILE_MAGIC = b"ARROW1"


class ArrowBatches(NamedTuple):
    """The record batches of a file up to the first that is damaged, and the first row of each.

    `problem` says what ends them early; None if the file is whole.
    """

    batches: list[pa.RecordBatch]
    first_rows: list[int]
    problem: str | None


def open_batches(file: Path) -> ArrowBatches:
    """Map a file into memory and list its batches; once in each process.

    Columns stay on disk until they are used. Raise UserError for a file in an object store.
    """
    check_local(
        file,
        str(file),
        "an Arrow file can only be read in place on a local disk",
        "convert it to Parquet, or copy it to a local disk",
    )
    return _open_batches(file, file_version(file))


@lru_cache(maxsize=16)
def _open_batches(file: Path, version: object) -> ArrowBatches:
    batches: list[pa.RecordBatch] = []
    rows, problem = [0], None
    try:
        source = pa.memory_map(str(file))
        if source.read(len(_FILE_MAGIC)) == _FILE_MAGIC:
            opened = pa.ipc.open_file(source)
            numbers = range(opened.num_record_batches)
            found = (opened.get_batch(number) for number in numbers)
        else:
            source.seek(0)
            found = iter(pa.ipc.open_stream(source))
        for batch in found:
            batches.append(batch)
            rows.append(rows[-1] + len(batch))
    except (pa.ArrowException, OSError) as error:
        problem = " ".join(str(error).split())
    return ArrowBatches(batches, rows, problem)
