"""Find an image by its row in a set of Parquet files, whose rows count through all files.

The name of such an image has a glob in place of a file: `finevision/plotqa/*.parquet/@image/17` is
row 17 of the files that match, in the order of their names.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.table_images import read_row_count
from imp_data.storage.decompressed import embedded_file
from imp_data.storage.digests import file_version
from imp_data.storage.embedded_names import cell_name, parse_cell, split_embedded
from imp_data.storage.globs import matching_files


class MissingRow(FileNotFoundError):
    """A row that a set of files does not have; `problem` says how many it has."""

    def __init__(self, image: str, problem: str) -> None:
        super().__init__(image)
        self.problem = problem


class _RowFiles(NamedTuple):
    """Files in order, with the first row of each, and the number of all rows at the end."""

    files: tuple[Path, ...]
    first_rows: npt.NDArray[np.int64]


def is_row_set(name: str) -> bool:
    """Return whether the file part of an image's name is a glob."""
    return "*" in name or "?" in name


def locate(raw: Path, file: str, name: str) -> tuple[Path, str] | None:
    """Return the file of an image and its name there; None if the set has no such row.

    `file` is what comes before the image's name: a file, or a glob below data/raw/<collection>/.
    """
    if not is_row_set(file):
        return embedded_file(raw, file), name
    cell, found = parse_cell(name), _find(raw, file)
    if cell is None or cell.row >= found.first_rows[-1]:
        return None
    number = int(np.searchsorted(found.first_rows, cell.row, side="right")) - 1
    row = cell.row - int(found.first_rows[number])
    return found.files[number], cell_name(cell.column, row, cell.number, cell.inner)


def missing_image(raw: Path, image: str) -> FileNotFoundError:
    """Return the error of an image that no place has; of a row, with the number of rows."""
    found = split_embedded(image)
    if found is None or not is_row_set(found[0]):
        return FileNotFoundError(image)
    some = _find(raw, found[0])
    count, rows = len(some.files), int(some.first_rows[-1])
    return MissingRow(image, f"{count:,} files match {found[0]}, and have {rows:,} rows")


def _find(raw: Path, glob: str) -> _RowFiles:
    """Return the files of a set; listed again, in a process that goes on, once one has changed."""
    found, versions = _list(raw, glob)
    if versions != tuple(map(file_version, found.files[:1])):
        _list.cache_clear()
        found, _ = _list(raw, glob)
    return found


@lru_cache(maxsize=1 << 10)
def _list(raw: Path, glob: str) -> tuple[_RowFiles, tuple[object, ...]]:
    collection, _, pattern = glob.partition("/")
    files = tuple(matching_files(raw / collection, pattern))
    counts = [read_row_count(file, file_version(file) or 0) for file in files]
    versions = tuple(map(file_version, files[:1]))
    return _RowFiles(files, np.cumsum([0, *counts])), versions
