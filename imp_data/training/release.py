"""Pictures that stand in a published dataset's parquet files, beside its rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from imp_data.errors import UserError
from imp_data.images.archive import TooManyBytes


class Release:
    """Reads them by the names that Samples have for them, as images.archive.Shelf does.

    A file has a column of {bytes, path}, as datasets.Image keeps pictures, `path` being the whole
    name (`coco/train2017/000000033471.jpg`). Of that column's names 20 bytes each are kept in
    memory. A picture costs the reading of its row group, so these should be small.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths = sorted(folder.rglob("*.parquet"))
        self._open()
        found = [place for n in range(len(self._paths)) for place in self._names(n)]
        keys = np.array([key for key, *_ in found], np.uint64)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._places = np.array([place for _, *place in found], np.int32).reshape(-1, 3)[order]

    def read(self, image: str, max_bytes: int) -> bytes:
        """The picture's bytes. Raises FileNotFoundError where no row has it, TooManyBytes."""
        key = np.uint64(xxhash.xxh3_64_intdigest(image.encode()))
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            raise FileNotFoundError(image)
        file, group, row = self._places[place].tolist()
        column = self._columns[file]
        try:
            some = self._files[file].read_row_group(group, [f"{column}.bytes"]).column(column)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self._paths[file], error) from error
        data: bytes | None = some[row].as_py()["bytes"]
        if data is None:
            raise FileNotFoundError(image)
        if len(data) > max_bytes:
            raise TooManyBytes(len(data))
        return data

    def __getstate__(self) -> dict[str, Any]:
        return {n: value for n, value in vars(self).items() if n != "_files"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def _open(self) -> None:
        self._files, self._columns = [], []
        for path in self._paths:
            try:
                self._files.append(pq.ParquetFile(path, memory_map=True))
            except (OSError, pa.ArrowException) as error:
                raise _damaged(path, error) from error
            self._columns.append(_picture_column(path, self._files[-1].schema_arrow))

    def _names(self, file: int) -> Iterator[tuple[int, int, int, int]]:
        """Key, file, row group and row of each picture that has a name."""
        column, opened = self._columns[file], self._files[file]
        for group in range(opened.num_row_groups):
            names = opened.read_row_group(group, [f"{column}.path"]).column(column)
            for row, name in enumerate(names.to_pylist()):
                if name and name["path"]:
                    yield xxhash.xxh3_64_intdigest(name["path"].encode()), file, group, row


def _picture_column(path: Path, schema: pa.Schema) -> str:
    for field in schema:
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {f.name for f in field.type}:
            return str(field.name)
    raise UserError(
        path, "has no column of pictures ({bytes, path})", "name a folder of files that have one"
    )


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(path, f"cannot be read ({error})", "fetch the file again")
